"""Changes of schema and of meaning: on which day a column became another one under its old name.

A change of meaning is a jump, not a drift: the periods before it and the periods after it are all on their own sides,
with a gap between them that matters. Seasons, weekdays and single bad days leave periods of both sides among each
other, and are monitoring's business. Effect first: each kind has the size below which nothing is said. Were there no
change, all of 7 periods would lie beyond all of the 14 before with a chance of 2 in 116,280.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from include.ratchet.dependencies.periods import ColumnPeriods, Floats

Kind = Literal[
    "appeared", "vanished", "renamed", "more missing", "less missing", "scaled", "moved", "recoded", "clipped",
    "constant",
]  # fmt: skip
BEFORE, AFTER = 14, 7
"""Periods on each side of a change, if there are so many."""
MIN_BEFORE, MIN_AFTER = 7, 3
MISSING_GAP = 0.2
"""Of the share of rows without a value."""
MIX_GAP = 0.15
"""Of the total variation distance from the shares of values before."""
SCALE = 1.5
"""Factor of all three quartiles."""
SCALE_SPREAD = 0.2
"""By which the quartiles' factors may differ, in logarithms."""
MOVE = 2.0
"""Of the median, in interquartile ranges."""
STEPS = 2.0
"""A number's jump, in the largest steps from period to period before it."""
CLIP_GAP = 0.05
"""Of the share of rows at the lowest or highest number."""
_UNITS = {
    60: "minutes and seconds", 24: "days and hours", 3600: "hours and seconds", 86400: "days and seconds",
    1.609: "miles and kilometres", 2.54: "inches and centimetres", 3.281: "metres and feet",
    2.205: "kilograms and pounds", 1.852: "nautical miles and kilometres",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A column that is another one from some day on.

    Attributes:
        table: whose column.
        column: its name; of one that was renamed, the new one.
        day: the first of the period in which it came.
        kind: of change.
        before: the number that jumped: a share, a factor's base, a median.
        after: the same afterwards.
        detail: in words.
        is_read: whether a feature or the label reads the column.
    """

    table: str
    column: str
    day: str
    kind: Kind
    before: float
    after: float
    detail: str
    is_read: bool = False

    @property
    def name(self) -> str:
        """By which a spec accepts it."""
        return f"{self.table}.{self.column}@{self.day}"


def find_changes(table: str, columns: Sequence[ColumnPeriods]) -> tuple[Change, ...]:
    """What changed its meaning in a table, in the order of days.

    Args:
        table: its name.
        columns: of it, all over the same periods.
    """
    found = [change for column in columns for change in _find_in(table, column)]
    return tuple(sorted(_pair_renames(found), key=lambda change: (change.day, change.column)))


def _find_in(table: str, column: ColumnPeriods) -> Iterator[Change]:
    """Changes of one column, none within `AFTER` periods of one before."""
    place, last = MIN_BEFORE, len(column.days) - MIN_AFTER
    while place <= last:
        found = _look_at(column, place)
        if found is None:
            place += 1
            continue
        # The last day before it may by chance lie on its side; the change is where the step is.
        later = {at: other for at in (place + 1, place + 2) if at <= last and (other := _look_at(column, at))
                 and other[0] == found[0] and _step_to(column, at) > 2 * _step_to(column, place)}  # fmt: skip
        place, (kind, before, after, detail) = max(
            later.items(), key=lambda one: _step_to(column, one[0]), default=(place, found)
        )
        yield Change(table, column.name, column.days[place], kind, before, after, detail)
        place += AFTER


def _look_at(column: ColumnPeriods, place: int) -> _Found | None:
    return _Jump(column, slice(max(0, place - BEFORE), place), slice(place, place + AFTER)).find()


def _step_to(column: ColumnPeriods, place: int) -> float:
    """How far a column's median is from that of the period before; 0 of one without."""
    medians = column.quantiles[:, 1] if column.quantiles is not None else np.zeros(len(column.days))
    return float(np.nan_to_num(abs(medians[place] - medians[place - 1])))


_Found = tuple[Kind, float, float, str]


@dataclass(frozen=True)
class _Jump:
    """The two sides of a day."""

    column: ColumnPeriods
    before: slice
    after: slice

    def find(self) -> _Found | None:
        """The change between the two sides, if there is one."""
        for look in (self._missing, self._constant, self._scaled, self._clipped, self._mixed, self._moved):
            found = look()
            if found is not None:
                return found
        return None

    def _missing(self) -> _Found | None:
        old, new = self._sides(self.column.missing)
        if not _is_apart(old, new, MISSING_GAP):
            return None
        before, after = float(np.median(old)), float(np.median(new))
        kind: Kind = "more missing" if after > before else "less missing"
        if new.min() == 1:
            kind = "vanished"
        elif old.min() == 1:
            kind = "appeared"
        return kind, before, after, f"missing in {before:.0%} of the rows before, in {after:.0%} since"

    def _constant(self) -> _Found | None:
        old, new = self._sides(self.column.distinct)
        if new.max() != 1 or new.min() != 1 or old.min() < 3:
            return None
        return "constant", float(np.median(old)), 1.0, f"{np.median(old):g} different values a day before, one since"

    def _scaled(self) -> _Found | None:
        if self.column.quantiles is None:
            return None
        old, new = self._sides(self.column.quantiles)
        if np.isnan(old).any() or np.isnan(new).any() or not _is_apart(old[:, 1], new[:, 1]):
            return None
        before, after = np.median(old, axis=0), np.median(new, axis=0)
        if (before * after <= 0).any():
            return None
        logs = np.log(after / before)
        if np.ptp(logs) > SCALE_SPREAD or abs(logs.mean()) < math.log(SCALE):
            return None
        if (old[:, 1] * before[1] <= 0).any() or not _is_step(np.log(old[:, 1] / before[1]), logs[1]):
            return None
        factor = float(np.exp(logs.mean()))
        return "scaled", float(before[1]), float(after[1]), f"all quartiles times {factor:.4g}{_name_unit(factor)}"

    def _moved(self) -> _Found | None:
        if self.column.quantiles is None or self.after.stop > len(self.column.days):
            return None  # a few warm days are no other unit
        old, new = self._sides(self.column.quantiles)
        if np.isnan(old).any() or np.isnan(new).any():
            return None
        spread = max(float(np.median(side[:, 2] - side[:, 0])) for side in (old, new))
        before, after = float(np.median(old[:, 1])), float(np.median(new[:, 1]))
        if not spread or abs(after - before) < MOVE * spread or not _is_apart(old[:, 1], new[:, 1]):
            return None
        if not _is_step(old[:, 1], after - before):
            return None
        return "moved", before, after, f"median {before:.4g} before, {after:.4g} since, of quartiles {spread:.4g} apart"

    def _clipped(self) -> _Found | None:
        if self.column.at_extremes is None or self.column.extremes is None:
            return None
        for side, word in enumerate(("lowest", "highest")):
            old, new = self._sides(self.column.at_extremes[:, side])
            bounds = self._sides(self.column.extremes[:, side])[1]
            is_bound = np.ptp(bounds) == 0
            if is_bound and _is_apart(old, new, CLIP_GAP) and new.min() > old.max():
                before, after = float(np.median(old)), float(np.median(new))
                detail = f"{after:.0%} of the rows have the {word} number {bounds[0]:.4g} since, {before:.0%} before"
                return "clipped", before, after, detail
        return None

    def _mixed(self) -> _Found | None:
        if self.column.counts is None:
            return None
        old, new = self._sides(self.column.counts)
        sizes = [side.sum(axis=1) for side in (old, new)]
        if min(side.min() for side in sizes) < 1:
            return None
        whole = old.sum(axis=0)
        # A period's own rows are not among those that it is held against.
        others = whole - old
        if others.sum(axis=1).min() < 1:
            return None
        apart = _distance(old, others), _distance(new, np.tile(whole, (len(new), 1)))
        if not _is_apart(*apart, MIX_GAP) or apart[1].min() < apart[0].max():
            return None
        unseen = float(new[:, whole == 0].sum() / new.sum())
        before, after = (float(np.median(side)) for side in apart)
        detail = f"shares of values differ by {after:.2f} from those before, usually by {before:.2f}"
        return "recoded", before, after, detail + (f"; {unseen:.0%} of the rows have a new value" if unseen else "")

    def _sides(self, series: Floats) -> tuple[Floats, Floats]:
        return series[self.before], series[self.after]


def _is_apart(old: Floats, new: Floats, gap: float = 0.0) -> bool:
    """Whether the sides' medians differ by a gap at least, and every period lies beyond every one of the other side."""
    is_large = abs(float(np.median(new) - np.median(old))) >= gap
    return bool(is_large and (new.min() > old.max() or old.min() > new.max()))


def _is_step(old: Floats, jump: float) -> bool:
    """Whether a jump is far larger than what lay between any two periods in a row before it."""
    return bool(abs(jump) > STEPS * np.abs(np.diff(old)).max())


def _distance(counts: Floats, others: Floats) -> Floats:
    """(n_periods,) total variation distance of rows of counts, 0 to 1."""
    shares = [side / side.sum(axis=1, keepdims=True) for side in (counts, others)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=1) / 2)


def _name_unit(factor: float) -> str:
    """What a factor may come from: a power of ten, or two units of the same thing."""
    size = max(factor, 1 / factor)
    power = round(math.log10(size))
    if power and abs(math.log10(size) - power) < 0.04:
        return f": 10 to the power of {power if factor > 1 else -power}, but for chance"
    for unit, words in _UNITS.items():
        if abs(math.log(size / unit)) < 0.05:
            return f": as between {words}"
    return ""


def _pair_renames(found: Sequence[Change]) -> Iterator[Change]:
    """A column that vanished on the day on which exactly one other came has its name."""
    gone = {change.day: change for change in found if change.kind == "vanished"}
    came: dict[str, list[Change]] = {}
    for change in found:
        if change.kind == "appeared":
            came.setdefault(change.day, []).append(change)
    pairs = {day: (gone[day], new[0]) for day, new in came.items() if len(new) == 1 and day in gone}
    renamed = {id(one) for pair in pairs.values() for one in pair}
    for old, new in pairs.values():
        yield replace(new, kind="renamed", detail=f"{old.column} vanished on the day on which {new.column} came")
    yield from (change for change in found if id(change) not in renamed)
