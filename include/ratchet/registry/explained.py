"""What a registered version is explained by, and what it leans on: as it was registered, and over its history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from include.ratchet.errors import VersionNotFoundError
from include.ratchet.explanations.explainer import Explainer
from include.ratchet.explanations.overview import OVERVIEW, Overview, survey
from include.ratchet.registry import ledger
from include.ratchet.registry.example import BACKGROUND, load_example
from include.ratchet.registry.versions import Version, get_version, load_estimator, read_artifact
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import steady


def open_explainer(model: Model, version: Version, settings: Settings, estimator: Any = None) -> Explainer:
    """Explains a version's predictions, as it did when it was registered.

    Args:
        model: whose.
        version: of it.
        settings: where the registry is.
        estimator: the version's, if it is loaded already.

    Raises:
        VersionNotFoundError: it was registered before the rows that it would be explained against were kept.
    """
    background = load_example(read_artifact(version, BACKGROUND, settings))[0]
    estimator = load_estimator(model, version, settings) if estimator is None else estimator
    return Explainer(
        estimator, background[list(version.lineage.features)], model.spec.task, model.spec.training.seed
    )  # fmt: skip


def read_overview(model: Model, version: Version, settings: Settings) -> Overview:
    """What a version leans on: on its test rows, or, of a segment's, on the rows that it is explained against.

    Raises:
        VersionNotFoundError: it was registered before any were kept.
    """
    if version.key.is_pool:
        return Overview.from_dict(json.loads(read_artifact(version, OVERVIEW, settings)))
    rows = load_example(read_artifact(version, BACKGROUND, settings))[0]
    with steady(model):
        explainer = open_explainer(model, version, settings)
        return survey(model.spec, explainer, rows[list(version.lineage.features)], len(rows))


@dataclass(frozen=True)
class Shift:
    """A column on which a version leans otherwise than the one before it: their shares' intervals do not meet."""

    column: str
    before: float
    after: float


@dataclass(frozen=True)
class Leaning:
    """What one version of a history leaned on.

    Attributes:
        version: number.
        as_of: what it knew.
        outcome: of its verdict.
        overview: None if none was kept with it, or if the registry no longer has it.
        shifts: from the version before that has one, the largest first.
    """

    version: int
    as_of: datetime | None
    outcome: str
    overview: Overview | None
    shifts: tuple[Shift, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "as_of": self.as_of.isoformat() if self.as_of else None}


def read_leanings(model: Model, key: ModelKey, settings: Settings, count: int) -> tuple[Leaning, ...]:
    """The newest versions of a model key that were judged, in the order in which they were, with what moved."""
    judged = {row.version: row for row in ledger.history(key, settings) if row.kind == "verdict" and row.version}
    found: list[Leaning] = []
    before: Overview | None = None
    for number in sorted(judged)[-count:]:
        row = judged[number]
        try:
            overview = read_overview(model, get_version(key, number, settings), settings)
        except VersionNotFoundError:
            overview = None
        shifts = find_shifts(before, overview) if before and overview else ()
        found.append(Leaning(number, row.as_of, str(row.details.get("outcome", "")), overview, tuple(shifts)))
        before = overview or before
    return tuple(found)


def find_shifts(before: Overview, after: Overview) -> Sequence[Shift]:
    """Columns whose shares of two overviews surely differ; a column that one does not have has no share of it."""
    old, new = ({one.column: one.share for one in overview.weights} for overview in (before, after))
    found = []
    for column in {**old, **new}:
        low, high = ((one.low, one.high) if one else (0.0, 0.0) for one in (old.get(column), new.get(column)))
        if low[1] < high[0] or high[1] < low[0]:
            one, other = (side[column].value if column in side else 0.0 for side in (old, new))
            found.append(Shift(column, one, other))
    return sorted(found, key=lambda shift: (-abs(shift.after - shift.before), shift.column))
