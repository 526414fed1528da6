"""Flights' features as one would write them in pandas: `merge_asof` for whatever is as of a time."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

_LEAD = pd.Timedelta("2h")


def flight_features(
    flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame, as_of: datetime
) -> pd.DataFrame:
    """The same columns, in the same order, as `include/models/flight_delay/features.py` gives."""
    rows = flights[(flights["landed_at"] < as_of) & flights["is_late"].notna()].copy()
    rows["moment"] = (rows["scheduled_departure"] - _LEAD).astype("datetime64[us, UTC]")
    rows = rows.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)
    landed = flights[flights["landed_at"].notna()].sort_values("landed_at")
    for frame in (rows, landed):
        frame["route"] = frame["origin"] + "-" + frame["destination"]
        frame["carrier_origin"] = frame["carrier"] + "-" + frame["origin"]
        frame["origin_hour"] = frame["origin"] + ":" + frame["scheduled_hour"].astype(str)
    return pd.DataFrame(
        {
            **_schedule(rows),
            **_plane(rows, planes),
            **_weather(rows, weather),
            **_previous_leg(rows, landed),
            **_experience(rows, landed),
            **_today(rows, landed),
        }
    )


def _schedule(rows: pd.DataFrame) -> dict[str, pd.Series]:
    local = rows["scheduled_departure"].dt.tz_convert("America/New_York")
    return {
        "carrier": rows["carrier"],
        "origin": rows["origin"],
        "destination": rows["destination"],
        "scheduled_hour": rows["scheduled_hour"],
        "scheduled_minute": local.dt.hour * 60 + local.dt.minute,
        "weekday": local.dt.weekday,
        "month": local.dt.month,
        "day_of_year": local.dt.dayofyear,
        "distance_miles": rows["distance_miles"],
        "scheduled_minutes": (rows["scheduled_arrival"] - rows["scheduled_departure"]).dt.total_seconds() / 60,
    }


def _plane(rows: pd.DataFrame, planes: pd.DataFrame) -> dict[str, pd.Series]:
    plane = rows[["tail_number"]].merge(planes, on="tail_number", how="left")
    year = rows["scheduled_departure"].dt.tz_convert("America/New_York").dt.year
    return {
        "plane_age_years": year - plane["year_built"],
        "plane_seats": plane["seats"],
        "plane_engines": plane["engines"],
    }


def _weather(rows: pd.DataFrame, weather: pd.DataFrame) -> dict[str, pd.Series]:
    sky = pd.merge_asof(
        rows[["origin", "moment"]], weather.sort_values("observed_at"), left_on="moment", right_on="observed_at",
        by="origin", allow_exact_matches=False,
    )  # fmt: skip
    return {name: sky[name] for name in weather.columns if name not in {"origin", "observed_at"}}


def _previous_leg(rows: pd.DataFrame, landed: pd.DataFrame) -> dict[str, pd.Series]:
    legs = landed.loc[landed["tail_number"].notna(), ["tail_number", "landed_at", "arrival_delay"]]
    leg = pd.merge_asof(
        rows[["tail_number", "moment"]], legs, left_on="moment", right_on="landed_at", by="tail_number",
        allow_exact_matches=False,
    )  # fmt: skip
    return {
        "previous_delay_minutes": leg["arrival_delay"],
        "previous_landed_minutes": (rows["moment"] - leg["landed_at"]).dt.total_seconds() / 60,
    }


def _experience(rows: pd.DataFrame, landed: pd.DataFrame) -> dict[str, pd.Series]:
    found = {}
    for by in ("carrier", "route", "origin", "origin_hour"):
        for days in (1, 7, 28):
            means = _rolling_means(rows, landed, by, f"{days}d", ["is_late", "arrival_delay"])
            found[f"{by}_late_rate_{days}d"] = means["is_late"]
            found[f"{by}_delay_minutes_{days}d"] = means["arrival_delay"]
    return found


def _today(rows: pd.DataFrame, landed: pd.DataFrame) -> dict[str, pd.Series]:
    airport = _rolling_means(rows, landed, "origin", "3h", ["is_late", "arrival_delay", "departure_delay"])
    carrier = _rolling_means(rows, landed, "carrier", "3h", ["arrival_delay"])
    both = _rolling_means(rows, landed, "carrier_origin", "6h", ["departure_delay"])
    return {
        "origin_late_rate_3h": airport["is_late"],
        "origin_delay_minutes_3h": airport["arrival_delay"],
        "origin_departure_minutes_3h": airport["departure_delay"],
        "carrier_delay_minutes_3h": carrier["arrival_delay"],
        "carrier_origin_departure_minutes_6h": both["departure_delay"],
    }


def _rolling_means(
    rows: pd.DataFrame, landed: pd.DataFrame, by: str, over: str, columns: list[str]
) -> dict[str, pd.Series]:
    """Running totals at the moment less those at the window's beginning."""
    totals = landed[[by, "landed_at"]].copy()
    for column in columns:
        values = landed[column].astype("float64")
        totals[f"{column}_sum"] = values.fillna(0).groupby(landed[by]).cumsum()
        totals[f"{column}_count"] = values.notna().groupby(landed[by]).cumsum()
    start = (rows["moment"] - pd.Timedelta(over)).astype("datetime64[us, UTC]")
    now, ago = (_totals_at(rows[by], moment, totals, by) for moment in (rows["moment"], start))
    window = now - ago
    return {column: window[f"{column}_sum"] / window[f"{column}_count"].replace(0, float("nan")) for column in columns}


def _totals_at(keys: pd.Series, moment: pd.Series, totals: pd.DataFrame, by: str) -> pd.DataFrame:
    asked = pd.DataFrame({by: keys, "moment": moment})
    found = pd.merge_asof(asked, totals, left_on="moment", right_on="landed_at", by=by, allow_exact_matches=False)
    return found.drop(columns=[by, "moment", "landed_at"]).fillna(0)
