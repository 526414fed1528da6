"""The backtest: what would have happened under other policies of retraining, replayed day by day on a model's history.

Each morning a policy may fit: on rows with labels known by then, split as production splits them. A fit is promoted if
it passes the gates that most often decide, on its own test rows: versus the champion, above a constant, minimum metric.
Each day is answered by the champion of its morning. At its end adaptive policies look at it with production's tests and
decide with production's `decide`; what they ask for is fitted the next morning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from include.ratchet.errors import TooFewRowsError
from include.ratchet.monitoring.backtest.folds import Progress, open_folds
from include.ratchet.monitoring.backtest.history import (
    BacktestRequest,
    choose_candidate,
    explain_lack,
    read_history,
)
from include.ratchet.monitoring.backtest.judgement import Judgement, PolicyResult
from include.ratchet.monitoring.backtest.looks import Looks
from include.ratchet.monitoring.backtest.policies import DEFAULT, read_policy, replay
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.spec import ModelKey
from include.ratchet.training.fit import Candidate

__all__ = ["DEFAULT", "Backtest", "BacktestRequest", "PolicyResult", "run_backtest"]


@dataclass(frozen=True)
class Backtest:
    """What would have happened.

    Attributes:
        key: whose history.
        metric: that decides.
        candidate: what was fitted.
        days: keys of the days that were answered.
        rows: that were answered and have a label.
        policies: in the order in which they were asked for.
        fitted: distinct fits that all of them needed together.
        scored: distinct pairs of a fit and a day.
        worth: what a prediction's value is called, with its unit; None where the spec's scope states none.
    """

    key: ModelKey
    metric: str
    candidate: Candidate
    days: tuple[str, ...]
    rows: int
    policies: tuple[PolicyResult, ...]
    fitted: int
    scored: int
    worth: str | None = None

    def policy(self, name: str) -> PolicyResult:
        """One of them."""
        return next(one for one in self.policies if one.name == name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "key": list(self.key), "candidate": self.candidate.to_dict()}


def run_backtest(
    workspace: Workspace, request: BacktestRequest, progress: Progress = lambda *_: None, *, workers: int = 1
) -> Backtest:
    """Replay a model's history under several policies.

    Args:
        workspace: the installation.
        request: what is asked.
        progress: called as (what, done, total).
        workers: processes that fit.

    Raises:
        ValueError: a policy is unknown, or the range ends before it begins.
        SpecError: the candidate is unknown.
        TooFewRowsError: the history is too short for a first fit, or ends before the range does.
    """
    model = workspace.model(request.key.model)
    names = tuple(dict.fromkeys((*(read_policy(name) for name in request.policies), "never", "nightly")))
    candidate = choose_candidate(workspace, model, request)
    progress("history", 0, 1)
    history, first = read_history(workspace, model, request, candidate)
    progress("history", 1, 1)
    with open_folds(history, workers) as folds:
        served = range(first, len(history.days) - 1)
        folds.prepare(served, progress)
        if folds.fit(first) is None:
            raise TooFewRowsError(explain_lack(history, first))
        looks = Looks(folds, request.key, first)
        runs = {}
        for done, name in enumerate(names, start=1):
            runs[name] = replay(name, folds, looks, served)
            progress("policies", done, len(names))
        judged = Judgement(folds, served, runs["never"], runs["nightly"])
        results = tuple(judged.judge(run) for run in runs.values())
        rows = int(history.offsets[served.stop] - history.offsets[first])
        days = tuple(history.days[day].key for day in served)
        business = model.spec.business
        worth = f"{business.name}, {business.unit} a prediction" if business else None
        return Backtest(
            request.key, model.spec.metric, candidate, days, rows, results, folds.fitted, folds.scored, worth
        )
