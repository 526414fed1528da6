"""# Request records.

What the prediction service wrote before it answered becomes a table that others can build on: **ship** what a service
has left in its log, **compact** the many small files of its commits, **expire** what is older than the spec keeps, and
**publish** the partition of records as an asset.

A running service ships by itself again and again; this finds what one left that was killed.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, Param, dag

from include.ratchet.orchestration import records
from include.ratchet.orchestration.assets import RECORD, dag_id, requests_asset, tags
from include.ratchet.orchestration.partitions import CRON
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's request records."""

    @dag(
        dag_id=dag_id(RECORD, spec.name),
        description=f"Ship, compact and publish the request records of {spec.name}",
        doc_md=__doc__,
        # Not partitioned, for all that it is about partitions: an event of a partitioned run wakes no DAG that has a
        # schedule of its own as well, as those have that hand over and watch.
        schedule=CronDataIntervalTimetable(CRON[spec.partition], timezone=spec.timezone),
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=1,
        tags=tags(spec, RECORD),
        default_args=defaults(spec),
        params={"partition": Param(None, type=["null", "string"], description="To publish; the last one: 2013-01-01")},
    )
    def record() -> None:
        tidied = step(records.ship)(spec.name) >> step(records.compact)(spec.name) >> step(records.expire)(spec.name)
        tidied >> step(records.publish, outlets=[requests_asset(spec.name)])(spec.name)

    record()


for model in models_to_build(RECORD):
    build(model.spec)
