"""# Training.

From landed data to a judged candidate and, where all gates agree, a new champion:
**prepare** a snapshot of what was known `as_of`, **search** for the best hyperparameters, **judge** the candidate on
rows that nothing has seen and register it with its verdict, **promote** it; and so for each of a model's **segments**.

- Scheduled: nightly, as of the night. A night without new data is skipped; so is every night on which nothing was
  requested, for a model whose spec says `train: null`.
- By hand: the form takes `as_of`, `window`, `strategy`, `trials`, `force`, `segments` and a `reason`.
- On request: a retraining request in the ledger wakes it. One whose event was lost is answered the next night.
- Backfill: history is trained and judged again; production does not move.

A candidate that the gates refuse fails `decide` at once, with the gate table in the log and one alert.
"""

from __future__ import annotations

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, chain, dag, task_group

from include.ratchet.orchestration import fleets, steps
from include.ratchet.orchestration.assets import TRAIN, champion_asset, dag_id, retraining_asset, tags
from include.ratchet.orchestration.callbacks import deadline
from include.ratchet.orchestration.containers import in_own_pod
from include.ratchet.orchestration.forms import training_form
from include.ratchet.orchestration.links import CAUSE, DOCS, MODEL, VERSION_LINKS
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import promotion, step
from include.ratchet.spec import NIGHTLY, ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's training."""
    wanted = retraining_asset(spec.name)
    own_pod = in_own_pod(spec)
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
        params=training_form(spec),
    )
    def train() -> None:
        @task_group
        def prepare(request):
            step(steps.take_snapshot)(request) >> step(steps.validate_snapshot, links=(DOCS,))(request)

        @task_group
        def search(request):
            batches = step(steps.plan_trials, **own_pod)(request)
            step(steps.run_trials, **own_pod).partial(request=request).expand(batch=batches)

        @task_group
        def judge(request):
            measured = step(steps.fit, **own_pod)(request) >> step(steps.evaluate)(request)
            registered = measured >> step(steps.register, links=VERSION_LINKS)(request)
            registered >> step(steps.decide, links=VERSION_LINKS)(request)

        request = step(steps.plan_training, links=(CAUSE, MODEL))(spec.name)
        whole = [prepare(request), *([search(request), judge(request)] if spec.has_whole else [])]
        if spec.segments is None:
            chain(*whole, *promotion(spec, steps.promote, request))
        elif spec.waits_for_all:
            chain(*whole, segments(request, "none_failed", own_pod), *promotion(spec, fleets.promote_segments, request))
        else:  # a pooled model that is refused keeps no segment back
            pooled = promotion(spec, steps.promote, request) if spec.has_whole else []
            announce = step(fleets.announce_segments, outlets=[champion_asset(spec.name)])
            chain(*whole, *pooled, segments(request, "all_done", own_pod), announce(request))

    train()


@task_group
def segments(request, rule, own_pod):
    """A model for each segment, in batches of many."""
    batches = step(fleets.plan_segments, trigger_rule=rule)(request)
    trained = step(fleets.train_segments, **own_pod).partial(request=request).expand(batch=batches)
    trained >> step(fleets.report_segments, trigger_rule=rule)(request)


for model in models_to_build(TRAIN):
    build(model.spec)
