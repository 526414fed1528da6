"""# Batch scoring.

Every partition that ingestion publishes goes through the **champion**: features by the same code as in training and
serving, answers recorded like those of requests, in a table of their own.

- By asset: the partition that ingestion has published, a backfilled one too.
- By hand: set `first` and `last` to score a range in one run, such as after a promotion.
- Again: a partition is replaced whole, and left alone if version, tables and code are the same.

Partitions of the past are scored with the present champion, which may have learned from them; the result says of how
many. A model without a champion is skipped, as is a partition that has not landed. A run of ingestion over a range has
no partition of its own and wakes nothing: score the range by hand.
"""

from __future__ import annotations

from airflow.sdk import Param, PartitionedAssetTimetable, dag

from include.ratchet.orchestration import scores
from include.ratchet.orchestration.assets import SCORE, dag_id, data_asset, scores_asset, tags
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's batch scoring."""

    @dag(
        dag_id=dag_id(SCORE, spec.name),
        description=f"Score the landed rows of {spec.name} with its champion",
        doc_md=__doc__,
        schedule=PartitionedAssetTimetable(assets=data_asset(spec.name)),
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=2,
        tags=tags(spec, SCORE),
        default_args=defaults(spec),
        params={
            "first": Param(None, type=["null", "string"], description="First partition of a range: 2013-01-01"),
            "last": Param(None, type=["null", "string"], description="Last partition of the range, included"),
        },
    )
    def score() -> None:
        scored = step(scores.score).partial(model=spec.name).expand(keys=step(scores.plan_partitions)(spec.name))
        # A batch without data leaves the others theirs.
        rule = "none_failed_min_one_success"
        step(scores.publish, outlets=[scores_asset(spec.name)], trigger_rule=rule)(spec.name, scored)

    score()


for model in models_to_build(SCORE):
    build(model.spec)
