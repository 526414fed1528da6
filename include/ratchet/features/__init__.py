"""Features: one definition in Ibis trains, scores in batch and serves, seeing only what was known at the time.

A model's `features.py` says what, with `Features`, `latest`, `previous`, `rolling`, `lookup`, `query` and `local_time`;
the engine adds the discipline of time.
"""

from include.ratchet.features.frames import (
    Scorer,
    context_names,
    feature_names,
    feature_query,
    scoring_rows,
    training_rows,
)
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.leakage import LeakageReport, check_leakage
from include.ratchet.features.requests import latest, lookup, previous, query
from include.ratchet.features.rolling import rolling
from include.ratchet.features.tables import Features, Tables
from include.ratchet.features.times import local_time

__all__ = [
    "Features",
    "Inputs",
    "LeakageReport",
    "Scorer",
    "Tables",
    "check_leakage",
    "context_names",
    "feature_names",
    "feature_query",
    "latest",
    "local_time",
    "lookup",
    "previous",
    "query",
    "rolling",
    "scoring_rows",
    "training_rows",
]
