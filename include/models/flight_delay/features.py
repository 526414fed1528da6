"""What is known of a flight two hours before its departure, and what experience says about its like."""

from include.ratchet.features import Features, Tables, latest, local_time, lookup, previous, rolling

ROUTE = ("origin", "destination")
ORIGIN_HOUR = ("origin", "scheduled_hour")


def features(t: Tables) -> Features:
    """The features of a flight, in the order in which models see them."""
    flight = t.rows
    local = local_time(flight.scheduled_departure, "America/New_York")
    weather = latest(t.weather, on="origin")
    plane = lookup(t.planes, on="tail_number")
    leg = previous(t.history, on="tail_number")
    minutes_since_landing = (flight._prediction_time.epoch_seconds() - leg._available_time.epoch_seconds()) / 60
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
        previous_landed_minutes=minutes_since_landing,
        **_experience(t, "carrier", "carrier"),
        **_experience(t, "route", ROUTE),
        **_experience(t, "origin", "origin"),
        **_experience(t, "origin_hour", ORIGIN_HOUR),
    )


def _experience(t: Tables, name: str, by: str | tuple[str, ...]) -> dict[str, object]:
    """How flights of the same kind that had landed by then have fared lately."""
    found: dict[str, object] = {}
    for days in (1, 7, 28):
        flights = rolling(t.history, by=by, over=f"{days}d")
        found[f"{name}_late_rate_{days}d"] = flights.mean("is_late")
        found[f"{name}_delay_minutes_{days}d"] = flights.mean("arrival_delay", digits=0)
    return found
