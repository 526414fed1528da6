"""What is known of a flight two hours before its departure, and what experience says about its like."""

from include.ratchet.features import Features, Tables, latest, local_time, lookup, previous, rolling

KINDS = {
    "carrier": "carrier",
    "route": ("origin", "destination"),
    "origin": "origin",
    "origin_hour": ("origin", "scheduled_hour"),
}


def features(t: Tables) -> Features:
    """The features of a flight, in the order in which models see them."""
    flight = t.rows
    local = local_time(flight.scheduled_departure, "America/New_York")
    weather = latest(t.weather, on="origin")
    plane = lookup(t.planes, on="tail_number")
    leg = previous(t.history, on="tail_number")
    return Features(
        carrier=flight.carrier,
        origin=flight.origin,
        destination=flight.destination,
        scheduled_hour=flight.scheduled_hour,
        scheduled_minute=local.hour() * 60 + local.minute(),
        weekday=local.day_of_week.index(),
        month=local.month(),
        day_of_year=local.day_of_year(),
        distance_miles=flight.distance_miles,
        scheduled_minutes=_minutes(flight.scheduled_arrival, since=flight.scheduled_departure),
        plane_age_years=local.year() - plane.year_built,
        plane_seats=plane.seats,
        plane_engines=plane.engines,
        temperature_f=weather.temperature_f,
        wind_mph=weather.wind_mph,
        gust_mph=weather.gust_mph,
        precipitation_in=weather.precipitation_in,
        pressure_mb=weather.pressure_mb,
        visibility_miles=weather.visibility_miles,
        previous_delay_minutes=leg.arrival_delay,
        previous_landed_minutes=_minutes(flight._prediction_time, since=leg._available_time),
        **_experience(t),
        **_today(t),
    )


def _experience(t: Tables) -> dict[str, object]:
    """How flights of the same kind that had landed by then have fared."""
    found: dict[str, object] = {}
    for kind, by in KINDS.items():
        for days in (1, 7, 28):
            flights = rolling(t.history, by=by, over=f"{days}d")
            found[f"{kind}_late_rate_{days}d"] = flights.mean("is_late")
            found[f"{kind}_delay_minutes_{days}d"] = flights.mean("arrival_delay", digits=0)
    return found


def _today(t: Tables) -> dict[str, object]:
    """How it goes at the airport and with the carrier in these very hours."""
    airport = rolling(t.history, by="origin", over="3h")
    carrier = rolling(t.history, by="carrier", over="3h")
    carrier_here = rolling(t.history, by=("carrier", "origin"), over="6h")
    return {
        "origin_late_rate_3h": airport.mean("is_late"),
        "origin_delay_minutes_3h": airport.mean("arrival_delay", digits=0),
        "origin_departure_minutes_3h": airport.mean("departure_delay", digits=0),
        "carrier_delay_minutes_3h": carrier.mean("arrival_delay", digits=0),
        "carrier_origin_departure_minutes_6h": carrier_here.mean("departure_delay", digits=0),
    }


def _minutes(time: object, *, since: object) -> object:
    return (time.epoch_seconds() - since.epoch_seconds()) / 60  # type: ignore[attr-defined]
