"""Pages that were drawn of a model: what moved, validations of its data, and its newest backtest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from include.ratchet.data.blobs import Blobs, open_blobs
from include.ratchet.monitoring.backtest import newest_path
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

NEWEST = 30
"""Pages of one kind that a list has."""


@dataclass(frozen=True)
class Drawn:
    """A page: what it is about, and its path below the plugin's own."""

    subject: str
    path: str


@dataclass(frozen=True)
class PolicyPoint:
    """What a backtest found of one policy.

    Attributes:
        name: of the policy.
        mean: metric on an average day.
        low: lower end of its interval.
        high: upper end.
        gain: over never retraining.
        fits: trainings that it took.
    """

    name: str
    mean: float
    low: float
    high: float
    gain: float | None
    fits: int


@dataclass(frozen=True)
class BacktestView:
    """The newest backtest.

    Attributes:
        metric: that it measured.
        first: day that was answered.
        last: day that was answered.
        policies: in the order of the report.
        recommended: name of a policy; None if retraining does not pay.
        reason: why.
        page: of the whole report.
    """

    metric: str
    first: str
    last: str
    policies: tuple[PolicyPoint, ...]
    recommended: str | None
    reason: str
    page: str


@dataclass(frozen=True)
class Reports:
    """Pages of a model key, newest first."""

    drift: tuple[Drawn, ...]
    docs: tuple[Drawn, ...]
    backtest: BacktestView | None


def read_reports(settings: Settings, key: ModelKey, tables: Iterable[str]) -> Reports:
    """What was drawn of a model key and of its model's tables."""
    blobs = open_blobs(settings)
    days = blobs.names(f"monitoring/{key.slug}/reports")[: -NEWEST - 1 : -1]
    docs = [page for table in tables if (page := _find_docs(blobs, key.model, table)) is not None]
    return Reports(
        tuple(Drawn(day, f"drift/{key.slug}/{day}/") for day in days), tuple(docs), _read_backtest(blobs, key.model)
    )


def _find_docs(blobs: Blobs, model: str, table: str) -> Drawn | None:
    """The page of a table's newest validation."""
    subjects = blobs.names(f"validation/{model}/{table}")
    runs = blobs.names(f"validation/{model}/{table}/{subjects[-1]}") if subjects else []
    if not runs:
        return None
    return Drawn(f"{table} {subjects[-1]}", f"reports/{model}/{table}/{subjects[-1]}/{runs[-1]}/index.html")


def _read_backtest(blobs: Blobs, model: str) -> BacktestView | None:
    folder = (blobs.get(newest_path(model)) or b"").decode()
    content = blobs.get(f"{folder}/results.json") if folder else None
    if content is None:
        return None
    found = json.loads(content)
    policies = tuple(
        PolicyPoint(one["name"], one["mean"]["value"], one["mean"]["low"], one["mean"]["high"],
                    one["gain"]["value"] if one.get("gain") else None, one["fits"])
        for one in found["policies"]
    )  # fmt: skip
    return BacktestView(
        found["metric"], found["days"][0], found["days"][-1], policies, found["recommendation"]["policy"],
        found["recommendation"]["reason"], f"reports/{folder.removeprefix('validation/')}/index.html",
    )  # fmt: skip
