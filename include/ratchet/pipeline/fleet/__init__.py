"""Training a model for each segment of one spec: planned once, cut into batches, every key by itself.

    plan -> train (many batches of keys) -> report -> promote, where that waits for all

The snapshot, its validation and the pooled model are the run's; search, fit, gates, verdict, version, card and ledger
rows are each key's own.
"""

from include.ratchet.pipeline.fleet.plan import FleetPlan, plan_fleet, read_plan
from include.ratchet.pipeline.fleet.promote import promote_together
from include.ratchet.pipeline.fleet.report import conclude, find_pool_problem, read_table
from include.ratchet.pipeline.fleet.results import KeyResult, count, table
from include.ratchet.pipeline.fleet.train import train_batch

__all__ = [
    "FleetPlan",
    "KeyResult",
    "conclude",
    "count",
    "find_pool_problem",
    "plan_fleet",
    "promote_together",
    "read_plan",
    "read_table",
    "table",
    "train_batch",
]
