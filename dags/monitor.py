"""# Monitoring.

What a model answered in a partition is held against what its champion learned from: **profile** the records, every
column once, **compare** with the reference (drift, worth on labels that have come, quality, service), **judge** by the
spec's policy, draw a **report** of what moved, and **act**: an alert, a request to retrain, a revert.

- Scheduled: half an hour after each partition, also if nothing was recorded in it: silence is a signal. Labels that
  have come since are counted into the partitions that they belong to.
- By asset: the partition whose request records have arrived.
- By hand: set `first` and `last` to look at a range, and `as_of` to know only what was known then.
- Backfill: the same looks again; nothing is asked for and nobody is told.

One run looks at all model keys of the spec, in batches. Of many keys, what chance gives to one of them does not count,
retrainings share a budget, and one problem that struck many is told once.
"""

from __future__ import annotations

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, dag

from include.ratchet.orchestration import monitors
from include.ratchet.orchestration.assets import MONITOR, dag_id, requests_asset, retraining_asset, tags
from include.ratchet.orchestration.links import DRIFT, MODEL, TRAINING
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's monitoring."""
    after = CronDataIntervalTimetable(monitors.CRON[spec.partition], timezone=spec.timezone)

    @dag(
        dag_id=dag_id(MONITOR, spec.name),
        description=f"Watch {spec.name} in production and ask for a retraining when it helps",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=after, assets=[requests_asset(spec.name)]),
        start_date=first_day(spec),
        catchup=False,
        # Looks build on those before.
        max_active_runs=1,
        tags=tags(spec, MONITOR),
        default_args=defaults(spec),
        params={
            "first": Param(None, type=["null", "string"], description="First partition of a range: 2013-01-01"),
            "last": Param(None, type=["null", "string"], description="Last partition of the range, included"),
            "as_of": Param(None, type=["null", "string"], description="Know only what was known then: 2013-12-31"),
        },
    )
    def monitor() -> None:
        profiled = step(monitors.profile).partial(model=spec.name).expand(batch=step(monitors.plan)(spec.name))
        compared = step(monitors.compare).partial(model=spec.name).expand(batch=profiled)
        judged = step(monitors.judge, links=(MODEL,))(spec.name, compared)
        step(monitors.report, links=(DRIFT,))(spec.name, judged)
        # Beside the report: a retraining does not wait for a drawing, and goes on if that fails.
        step(monitors.act, outlets=[retraining_asset(spec.name)], links=(TRAINING, MODEL))(spec.name, judged)

    monitor()


for model in models_to_build(MONITOR):
    build(model.spec)
