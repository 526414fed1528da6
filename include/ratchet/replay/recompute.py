"""Features of recorded payloads computed again from the tables, compared bit for bit, and what differs explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import FEATURE
from include.ratchet.errors import RatchetError
from include.ratchet.features import Scorer, feature_names
from include.ratchet.registry.lineage import hash_code
from include.ratchet.replay.answer import SHOWN
from include.ratchet.replay.basis import Basis, Versions
from include.ratchet.replay.payload import masked_features, read_payloads
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

Mask = npt.NDArray[np.bool_]
_MOST_BASES = 50
"""Different states of the tables that one explanation opens; each takes about a second."""


@dataclass(frozen=True)
class Explanation:
    """Why features of some rows differ.

    Attributes:
        cause: online: the service knew less than the tables. changed: the tables changed after the answer. both.
            code: it has changed since. unknown: none of these.
        rows: that it explains.
        words: the same as a sentence, with numbers.
    """

    cause: str
    rows: int
    words: str


@dataclass(frozen=True)
class FeatureDifference:
    """One recorded value that the tables of today give otherwise."""

    request_id: str
    row: int
    feature: str
    recorded: Any
    recomputed: Any
    cause: str


@dataclass(frozen=True)
class FeatureCheck:
    """Recorded features beside those computed from the tables.

    Attributes:
        rows: that were compared.
        equal: of them, how many are the same to the bit in every feature.
        columns: feature -> rows in which it differs.
        explanations: of the rows that differ.
        differences: the first ones.
        left_out: what could not be compared -> why.
    """

    rows: int
    equal: int
    columns: Mapping[str, int] = field(default_factory=dict)
    explanations: tuple[Explanation, ...] = ()
    differences: tuple[FeatureDifference, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Rows that differ for no reason that is known."""
        return sum(one.rows for one in self.explanations if one.cause == "unknown")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "unexplained": self.unexplained}


def recompute(settings: Settings, model: Model, payloads: pa.Table, basis: Basis) -> pa.Table:
    """Features of some rows from a state of the tables, in the rows' order."""
    with Scorer(model, ModelKey(model.name), basis.open(settings, model), settings=settings) as scorer:
        return scorer.score(payloads)


def check_features(settings: Settings, model: Model, records: pa.Table) -> FeatureCheck:
    """Compute the features of records again and explain every difference.

    Args:
        settings: where the tables are.
        model: whose.
        records: (n_rows,), as they were found.
    """
    is_kept = pc.is_valid(records["payload"])
    left_out = _left_out(model, records, records.num_rows - pc.sum(is_kept, min_count=0).as_py())
    kept = records.filter(is_kept)
    if not kept.num_rows:
        return FeatureCheck(0, 0, left_out=left_out)
    try:
        return replace(_Comparison(settings, model, kept, left_out).check(), left_out=left_out)
    except (RatchetError, ValueError) as error:
        return FeatureCheck(0, 0, left_out={**left_out, "all rows": f"cannot be computed again: {error}"})


class _Comparison:
    """Records beside what their payloads give from one state of the tables after another."""

    def __init__(self, settings: Settings, model: Model, records: pa.Table, left_out: Mapping[str, str]) -> None:
        self._settings, self._model, self._records = settings, model, records
        self._payloads = read_payloads(model, records)
        self._names = [name for name in feature_names(model) if name not in left_out]
        self._versions = Versions(settings, model)
        self._opened: set[Basis] = set()

    def check(self) -> FeatureCheck:
        """Compare, and try one cause after the other on the rows that are left."""
        now = self._versions.now()
        fresh = recompute(self._settings, self._model, self._payloads, now)
        equal = {name: same_values(self._records[f"{FEATURE}{name}"], fresh[name]) for name in self._names}
        is_equal = np.logical_and.reduce(list(equal.values())) if equal else np.ones(len(self._payloads), bool)
        causes = self._explain(np.flatnonzero(~is_equal), now)
        return FeatureCheck(
            rows=self._records.num_rows,
            equal=int(is_equal.sum()),
            columns={name: int((~same).sum()) for name, same in equal.items() if not same.all()},
            explanations=self._describe(causes, now),
            differences=self._show(causes, equal, fresh),
        )

    def _explain(self, rows: npt.NDArray[np.int64], now: Basis) -> dict[int, tuple[str, Basis | None]]:
        """The cause of each row that differs, and the state of the tables that proves it."""
        known, answered = (self._records[name].to_pylist() for name in ("known_until", "answered_at"))
        at = {instant: self._versions.at(instant) for instant in set(answered) if instant is not None}

        def then(row: int) -> Basis | None:
            found = at.get(answered[row])
            return found if found is not None and found.versions and found != now else None

        def limited(basis: Basis | None, row: int) -> Basis | None:
            return replace(basis, before=known[row]) if basis is not None and known[row] is not None else None

        attempts: list[tuple[str, Callable[[int], Basis | None]]] = [
            ("online", lambda row: limited(now, row)), ("changed", then), ("both", lambda row: limited(then(row), row)),
        ]  # fmt: skip
        causes: dict[int, tuple[str, Basis | None]] = {}
        for cause, basis_of in attempts:
            causes |= self._try(cause, [row for row in rows.tolist() if row not in causes], basis_of)
        here = hash_code(self._model)
        hashes = self._records["code_hash"].to_pylist()
        for row in rows.tolist():
            has_changed = hashes[row] is not None and hashes[row] != here
            causes.setdefault(row, ("code" if has_changed else "unknown", None))
        return causes

    def _try(
        self, cause: str, rows: list[int], basis_of: Callable[[int], Basis | None]
    ) -> dict[int, tuple[str, Basis | None]]:
        """The rows whose features are the recorded ones over another state of the tables."""
        groups: dict[Basis, list[int]] = {}
        for row in rows:
            basis = basis_of(row)
            if basis is not None:
                groups.setdefault(basis, []).append(row)
        found: dict[int, tuple[str, Basis | None]] = {}
        for basis, members in groups.items():
            self._opened.add(basis)
            if len(self._opened) > _MOST_BASES:
                break
            places = pa.array(members)
            again = recompute(self._settings, self._model, self._payloads.take(places), basis)
            records = self._records.take(places)
            same = [same_values(records[f"{FEATURE}{name}"], again[name]) for name in self._names]
            is_same = np.logical_and.reduce(same)
            found |= {row: (cause, basis) for row, fits in zip(members, is_same.tolist(), strict=True) if fits}
        return found

    def _describe(self, causes: Mapping[int, tuple[str, Basis | None]], now: Basis) -> tuple[Explanation, ...]:
        groups: dict[tuple[str, Basis | None], list[int]] = {}
        for row, why in causes.items():
            groups.setdefault(why, []).append(row)
        return tuple(
            Explanation(cause, len(rows), self._words(cause, basis, rows, now))
            for (cause, basis), rows in groups.items()
        )

    def _words(self, cause: str, basis: Basis | None, rows: list[int], now: Basis) -> str:
        said = []
        if basis is not None and basis.before is not None:
            until = pc.max(self._records["prediction_time"].take(pa.array(rows))).as_py()
            said.append(_say_missed(basis.before, until, basis.count_between(self._settings, self._model, until)))
        if basis is not None and basis.versions != now.versions:
            then = dict(basis.versions)
            moved = [f"{name} from version {then.get(name, 'none')} to {version}" for name, version in now.versions
                     if then.get(name) != version]  # fmt: skip
            said.append(f"tables changed after the answer: {', '.join(moved)}")
        if cause == "code":
            recorded = self._records["code_hash"][rows[0]].as_py()
            said.append(
                f"features.py or the engine has changed: the records name code {recorded[:12]}, here it is "
                f"{hash_code(self._model)[:12]}"
            )
        if cause == "unknown":
            said.append("tables, online features and code do not explain it")
        return "; ".join(said)

    def _show(
        self, causes: Mapping[int, tuple[str, Basis | None]], equal: Mapping[str, Mask], fresh: pa.Table
    ) -> tuple[FeatureDifference, ...]:
        """The first differing values, those without an explanation before all others."""
        records = self._records
        order = sorted(causes, key=lambda row: (causes[row][0] != "unknown", row))
        found = [
            FeatureDifference(
                records["request_id"][row].as_py(), records["row"][row].as_py(), name,
                records[f"{FEATURE}{name}"][row].as_py(), fresh[name][row].as_py(), causes[row][0],
            )
            for row in order[:SHOWN] for name in self._names if not equal[name][row]
        ]  # fmt: skip
        return tuple(found[:SHOWN])


def same_values(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Mask:
    """(n_rows,): whether two columns are the same to the bit, null and null being the same."""
    left, right = (column.combine_chunks() for column in (one, other))
    if left.type != right.type:
        try:
            left = left.cast(right.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return np.zeros(len(right), bool)
    if pa.types.is_float64(right.type):
        left, right = left.view(pa.int64()), right.view(pa.int64())
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    found = pc.or_(pc.fill_null(pc.equal(left, right), False), both_null)
    return np.asarray(found.to_numpy(zero_copy_only=False))


def _left_out(model: Model, records: pa.Table, without_payload: int) -> dict[str, str]:
    """What cannot be compared, and why."""
    found = dict.fromkeys(sorted(masked_features(model)), "reads a masked column, of which only a hash is kept")
    recorded = {name.removeprefix(FEATURE) for name in records.column_names if name.startswith(FEATURE)}
    given = set(feature_names(model))
    found |= dict.fromkeys(sorted(given - recorded), "is not in the records; the feature is newer than they are")
    found |= dict.fromkeys(sorted(recorded - given), "is in the records, but features.py no longer gives it")
    if without_payload:
        found[f"{without_payload} rows"] = "have no payload in the records"
    return found


def _say_missed(before: datetime, until: datetime, counts: Mapping[str, int]) -> str:
    missed = ", ".join(f"{rows} rows of {name}" for name, rows in counts.items() if rows)
    if until <= before:
        return f"the online features knew what became available before {before.isoformat()}"
    return (
        f"the online features were older than the prediction: they knew what became available before "
        f"{before.isoformat()}, and up to {until.isoformat()} became known {missed or 'no further row'}"
    )
