"""# Hand-over of production.

A version that passed its gates takes over in stages: **look** at the evidence of the present stage (errors, latency,
outputs, the loss on labels that have come) and go on, wait, or go back; **approve** where the spec wants a person's
word; **announce** a new champion.

- Scheduled: every hour, and when request records arrive. A run is skipped while no version is being handed over.
- By hand: the form's `action` looks, goes on to the next stage, pauses, resumes or **reverts**, with a `reason`.
  A revert without a hand-over makes the previous champion the champion again.
- Of a model divided into segments a run takes all of them that are being handed over, or the form's `segment`. If too
  many went back, the fleet's guard pauses all, until a person resumes without a segment and says why.

Every step is one compare-and-swap write, kept in the ledger with its numbers and told once. Time is the records' own.
"""

from __future__ import annotations

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable, Param, dag

from include.ratchet.orchestration import rollouts
from include.ratchet.orchestration.assets import ROLLOUT, champion_asset, dag_id, requests_asset, tags
from include.ratchet.orchestration.links import MODEL
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import ask_approval, step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's hand-over."""
    hourly = CronDataIntervalTimetable(rollouts.CRON, timezone=spec.timezone)

    @dag(
        dag_id=dag_id(ROLLOUT, spec.name),
        description=f"Hand {spec.name} over to its next version, stage by stage",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=hourly, assets=[requests_asset(spec.name)]),
        start_date=first_day(spec),
        catchup=False,
        # One run may wait a day for a person while the hourly ones go on watching the guards.
        max_active_runs=4,
        tags=tags(spec, ROLLOUT),
        default_args=defaults(spec),
        params={
            "action": Param(None, enum=list(rollouts.ACTIONS), description="Instead of looking at the evidence"),
            "segment": Param(
                None, type=["null", "string"], description="Only this one. All that are handed over, if left out"
            ),
            "as_of": Param(None, type=["null", "string"], description="Know only what was known then: 2013-12-31"),
            "reason": Param(None, type=["null", "string"], description="Why; it is kept in the ledger"),
        },
    )
    def rollout() -> None:
        looked = step(rollouts.look, links=(MODEL,))(spec.name)
        results = [looked]
        if spec.rollout.approval.required:
            subject, reason = f"Hand {spec.name} over to its challenger?", "{{ ti.xcom_pull('look')['reason'] }}"
            before = "the challenger answers everything"
            approval = ask_approval(before, subject, reason, spec.rollout.approval.timeout)
            step(rollouts.need_person)(looked) >> approval
            results.append(step(rollouts.answer)(spec.name, looked, approval.output))
        announce = step(
            rollouts.announce, outlets=[champion_asset(spec.name)], trigger_rule="none_failed_min_one_success"
        )
        announce(spec.name, *results)

    rollout()


for model in models_to_build(ROLLOUT):
    build(model.spec)
