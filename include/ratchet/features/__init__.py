"""Features: one definition in Ibis trains, scores in batch and serves, seeing only what was known at the time.

A model's `features.py` says what; the engine adds the discipline of time:

    from include.ratchet.features import Features, latest, lookup, previous, rolling

    def features(t):
        weather = latest(t.weather, on="origin")            # the newest observation known at prediction time
        plane = lookup(t.planes, on="tail_number")          # a static table
        leg = previous(t.history, on="tail_number")         # the last flight of the plane that had landed
        week = rolling(t.history, by="carrier", over="7d")  # flights that landed in the week before
        return Features(
            carrier=t.rows.carrier,                         # rows: only what is known at prediction time
            plane_age=t.rows.scheduled_departure.year() - plane.year_built,
            is_gusty=weather.gust_mph > 30,
            last_delay=leg.arrival_delay,
            late_rate_7d=week.mean("is_late"),
        )

Columns are Ibis expressions and mix freely; tables may be filtered or given columns first: `t.history.filter(_.x > 0)`.
`query` takes any Ibis query; `check_leakage` proves that nothing of it all saw the future.
"""

from include.ratchet.features.frames import (
    Scorer,
    context_names,
    feature_names,
    feature_query,
    scoring_rows,
    training_rows,
    write_training_rows,
)
from include.ratchet.features.inputs import Inputs, read_versions
from include.ratchet.features.leakage import LeakageReport, check_leakage
from include.ratchet.features.online import Histories, OnlineScorer, build_histories, definition_hash
from include.ratchet.features.requests import latest, lookup, previous, query
from include.ratchet.features.rolling import rolling
from include.ratchet.features.schema import known_columns
from include.ratchet.features.tables import Features, Tables
from include.ratchet.features.times import local_time

__all__ = [
    "Features",
    "Histories",
    "Inputs",
    "LeakageReport",
    "OnlineScorer",
    "Scorer",
    "Tables",
    "build_histories",
    "check_leakage",
    "context_names",
    "definition_hash",
    "feature_names",
    "feature_query",
    "known_columns",
    "latest",
    "local_time",
    "lookup",
    "previous",
    "query",
    "read_versions",
    "rolling",
    "scoring_rows",
    "training_rows",
    "write_training_rows",
]
