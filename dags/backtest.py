"""# Backtest.

What would have happened **under other policies of retraining**: never, each night, each week, or when signals ask for
it. The model's own history is replayed day by day with what was known on each. `recommend` says which policy to take
and gives the section for `model.yaml`; the page of `backtest` has table and plot.

The form takes the days `from` (of the first fit) `to`, and the `policies`: never, nightly, weekly, monthly, Nd (such as
14d), drift, performance, both. A small `candidate` with few `max_rows` is enough to compare policies, and much faster.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from include.ratchet.orchestration import backtests
from include.ratchet.orchestration.assets import BACKTEST, dag_id, tags
from include.ratchet.orchestration.links import BACKTEST_REPORT
from include.ratchet.orchestration.specs import defaults, first_day, models_to_build
from include.ratchet.orchestration.tasks import step
from include.ratchet.spec import ModelSpec


def build(spec: ModelSpec) -> None:
    """One model's backtest."""

    @dag(
        dag_id=dag_id(BACKTEST, spec.name),
        description=f"Replay the history of {spec.name} under several policies of retraining",
        doc_md=__doc__,
        schedule=None,
        # Nothing runs by itself, and whoever asks should not find it waiting.
        is_paused_upon_creation=False,
        start_date=first_day(spec),
        catchup=False,
        max_active_runs=1,
        tags=tags(spec, BACKTEST),
        default_args=defaults(spec),
        params={
            "from": Param("", type="string", description="Day of the first fit: 2013-03-01"),
            "to": Param("", type="string", description="The last day that is answered: 2013-12-31"),
            "policies": Param(",".join(backtests.POLICIES), type="string", description="Separated by commas"),
            "candidate": Param(None, enum=[None, *spec.training.candidates], description="Absent: the champion's"),
            "params": Param({}, type="object", description="Of the candidate"),
            "max_rows": Param(60_000, type="integer", minimum=100, description="That one fit learns from"),
        },
    )
    def backtest() -> None:
        step(backtests.recommend)(step(backtests.backtest, links=(BACKTEST_REPORT,))(spec.name))

    backtest()


for model in models_to_build(BACKTEST):
    build(model.spec)
