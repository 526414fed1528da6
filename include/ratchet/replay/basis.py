"""What features are computed from again: the model's tables at some versions, with what was known before an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.resolution import LABELLED_AT
from include.ratchet.data.tables import Table
from include.ratchet.features import Inputs
from include.ratchet.features.inputs import Source
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.spec.labels import ANNOTATIONS

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Basis:
    """Tables to compute features from.

    Attributes:
        versions: (table, version); a table that is not named had not landed.
        before: rows that became available at or after it are left out; None leaves out none.
    """

    versions: tuple[tuple[str, int], ...]
    before: datetime | None = None

    def open(self, settings: Settings, model: Model) -> Inputs:
        """The tables, as features read them."""
        versions = dict(self.versions)
        if self.before is None:
            opened = Inputs.open(settings, model, versions).tables
            return Inputs({name: opened[name] for name in versions if name in opened})
        found: dict[str, Source] = {}
        for name, version in versions.items():
            if name == ANNOTATIONS:
                continue
            if name == model.name and model.spec.label.annotations:
                found[name] = _label_before(settings, model, versions, self.before)
                continue
            dataset = Table(settings, model.name, name).dataset(version)
            cut = _available(model, name, before=self.before)
            found[name] = dataset if cut is None else dataset.filter(cut)
        return Inputs(found)

    def count_between(self, settings: Settings, model: Model, end: datetime) -> dict[str, int]:
        """Rows by table that became available from `before` on and before `end`: what was missed."""
        counts = {}
        for name, version in self.versions:
            since, until = (_available(model, name, before=one) for one in (self.before or end, end))
            if since is not None and until is not None:
                dataset = Table(settings, model.name, name).dataset(version)
                counts[name] = dataset.count_rows(filter=~since & until)
        return counts


class Versions:
    """When each version of a model's tables was committed; read once.

    Args:
        settings: where the tables are.
        model: whose.
    """

    def __init__(self, settings: Settings, model: Model) -> None:
        self._commits: dict[str, list[tuple[datetime, int]]] = {}
        for name in model.spec.input_names:
            delta = Table(settings, model.name, name).open()
            if delta is not None:
                times = [(_instant(commit["timestamp"]), int(commit["version"])) for commit in delta.history()]
                self._commits[name] = sorted(times, key=lambda one: one[1])

    def now(self) -> Basis:
        """The newest of each."""
        return Basis(tuple((name, commits[-1][1]) for name, commits in self._commits.items()))

    def at(self, instant: datetime) -> Basis:
        """Those that stood at an instant of the clock."""
        found = []
        for name, commits in self._commits.items():
            known = [version for time, version in commits if time <= instant]
            if known:
                found.append((name, known[-1]))
        return Basis(tuple(found))


def _label_before(settings: Settings, model: Model, versions: dict[str, int], before: datetime) -> pa.Table:
    """The model's own rows whose label, as it was before an instant, was known by then."""
    rows = Inputs.open(settings, model, versions, as_of=before).tables[model.name]
    return pa.table(rows).filter(pc.field(LABELLED_AT) < pa.scalar(before, _TIME))


def _available(model: Model, table: str, *, before: datetime) -> pc.Expression | None:
    """Whether a row of a table became available before an instant; None for a static one, which always was."""
    if table == ANNOTATIONS:
        return pads.field("annotated_at") < pa.scalar(before, _TIME)
    spec = model.spec.table(table)
    own, delay = (spec.available_time, spec.delay)
    if table == model.name:
        own, delay = model.spec.label.available_time, model.spec.label.delay
    elif spec.is_static:
        return None
    if own is not None:
        return pads.field(own) < pa.scalar(before, _TIME)
    return pads.field(spec.event_time) < pa.scalar(before - delay, _TIME)


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
