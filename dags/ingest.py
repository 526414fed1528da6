"""# Ingestion.

Every partition of a model's data **lands** in versioned tables, is **validated**, and only then **published** as an
asset that others can build on; what online features need of it is **materialised** for the prediction service.

- Scheduled: the partition that has just ended. Labels that arrive late are merged into the days before.
- By hand: set `first` and `last` to load a history in one run.
- Backfill: any range of partitions, again and again; a day that is landed twice is the same day.

Rows that cannot be read or break a rule go to the quarantine with a reason. A partition that its source does not have
is skipped; a broken expectation of severity `fail` stops before publishing.
"""

from __future__ import annotations

from airflow.sdk import CronPartitionTimetable, Param, dag, task_group

from include.ratchet.orchestration import steps
from include.ratchet.orchestration.assets import INGEST, dag_id, data_asset, tags
from include.ratchet.orchestration.links import docs_links
from include.ratchet.orchestration.partitions import CRON, KEY_FORMAT
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's ingestion."""

    @dag(
        dag_id=dag_id(INGEST, spec.name),
        description=f"Land, validate and publish the data of {spec.name}",
        doc_md=__doc__,
        schedule=CronPartitionTimetable(
            spec.schedule.ingest or CRON[spec.partition],
            timezone=spec.timezone,
            run_offset=-1,
            key_format=KEY_FORMAT[spec.partition],
        ),
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=4,
        tags=tags(spec, INGEST),
        default_args=defaults(spec),
        params={
            "first": Param(None, type=["null", "string"], description="First partition of a range: 2013-01-01"),
            "last": Param(None, type=["null", "string"], description="Last partition of the range, included"),
        },
    )
    def ingest() -> None:
        @task_group
        def partitions(keys: list[str]):
            landed = step(steps.land)(spec.name, keys)
            return step(steps.validate, links=docs_links(spec))(spec.name, landed)

        landed = partitions.expand(keys=step(steps.plan_partitions)(spec.name))
        step(steps.publish, outlets=[data_asset(spec.name)])(spec.name, landed)
        step(steps.materialise)(spec.name, landed)

    ingest()


for model in models_to_build(INGEST):
    build(model.spec)
