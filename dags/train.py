"""# Training.

From landed data to a judged candidate and, where all gates agree, a new champion:
**prepare** a snapshot of what was known `as_of`, **search** for the best hyperparameters, **judge** the candidate on
rows that nothing has seen and register it with its verdict, **promote** it.

- Scheduled: nightly, as of the night. A night without new data is skipped; so is every night on which nothing was
  requested, for a model whose spec says `train: null`.
- By hand: the form takes `as_of`, `window`, `strategy`, `trials`, `force` and a `reason`.
- On request: a retraining request in the ledger wakes it. One whose event was lost is answered the next night.
- Backfill: history is trained and judged again; production does not move.

A candidate that the gates refuse fails `decide` at once, with the gate table in the log and one alert.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, dag, task_group

from include.ratchet.orchestration import steps
from include.ratchet.orchestration.assets import TRAIN, champion_asset, dag_id, retraining_asset, tags
from include.ratchet.orchestration.callbacks import deadline
from include.ratchet.orchestration.links import CAUSE, DOCS, VERSION_LINKS
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import ask_approval, step
from include.ratchet.spec import NIGHTLY, ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's training."""
    wanted = retraining_asset(spec.name)
    nightly = CronDataIntervalTimetable(spec.schedule.train or NIGHTLY, timezone=spec.timezone)

    @dag(
        dag_id=dag_id(TRAIN, spec.name),
        description=f"Train, judge and promote {spec.name}",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=nightly, assets=[wanted]),
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=1,
        tags=tags(spec, TRAIN),
        default_args=defaults(spec),
        deadline=deadline(spec),
        params={
            "as_of": Param(None, type=["null", "string"], description="Know only what was known then: 2013-12-31"),
            "window": Param(None, type=["null", "string"], pattern=r"^\d+[mhdw]$", description="How far back: 180d"),
            "strategy": Param(None, enum=[None, "grid", "random", "tpe", "halving"], description="Of the search"),
            "trials": Param(None, type=["null", "integer"], minimum=1, description="Budget of the search"),
            "force": Param(False, type="boolean", description="Train even if nothing has changed"),
            "reason": Param(None, type=["null", "string"], description="Why; it is kept with the version"),
        },
    )
    def train() -> None:
        @task_group
        def prepare(request):
            step(steps.take_snapshot)(request) >> step(steps.validate_snapshot, links=(DOCS,))(request)

        @task_group
        def search(request):
            step(steps.run_trials).partial(request=request).expand(batch=step(steps.plan_trials)(request))

        @task_group
        def judge(request):
            measured = step(steps.fit)(request) >> step(steps.evaluate)(request)
            registered = measured >> step(steps.register, links=VERSION_LINKS)(request)
            registered >> step(steps.decide, links=VERSION_LINKS)(request)

        request = step(steps.plan_training, links=(CAUSE,))(spec.name)
        approval = _ask_approval(spec) if spec.gates.approval.required else None
        promote = step(steps.promote, outlets=[champion_asset(spec.name)], links=VERSION_LINKS)
        promoted = promote(request, approval and approval.output)
        prepare(request) >> search(request) >> judge(request) >> (approval or promoted)

    train()


def _ask_approval(spec: ModelSpec) -> Any:
    gates, subject = "{{ ti.xcom_pull('judge.decide')['gates'] }}", f"Make the new version of {spec.name} champion?"
    return ask_approval("promotion", subject, gates, spec.gates.approval.timeout)


for model in models_to_build(TRAIN):
    build(model.spec)
