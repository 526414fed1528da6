"""How often each class occurs, which are rare, and how much of a test the rarest one leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.labels.tasks import write_choice
from include.ratchet.spec import ModelSpec
from include.ratchet.training.split import Rows


@dataclass(frozen=True)
class ClassCount:
    """One class.

    Attributes:
        name: as the label says it.
        rows: of the training set.
        share: of its rows.
        test_rows: of its test part.
        effective_rows: pairs of one row of it and one of the others that a balanced test would need to tell as much,
            the harmonic mean of the two counts: half the effective sample size of Willer et al. 2010, METAL.
    """

    name: str
    rows: int
    share: float
    test_rows: int
    effective_rows: float


@dataclass(frozen=True)
class Balance:
    """The classes of a training set.

    Attributes:
        classes: the most frequent first.
        rare_below: test rows below which a class is called rare: the gates' `min_positive_rows`.
    """

    classes: tuple[ClassCount, ...]
    rare_below: int

    @property
    def rare(self) -> tuple[str, ...]:
        """The classes whose test rows are too few to judge by."""
        return tuple(one.name for one in self.classes if one.test_rows < self.rare_below)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "rare": list(self.rare)}


def count_classes(spec: ModelSpec, table: pa.Table, test: Rows) -> Balance | None:
    """Count the classes of a snapshot; None of a regression.

    Args:
        spec: the model's.
        table: the snapshot's rows.
        test: row numbers of its test part.
    """
    if spec.task == "regression":
        return None
    names = np.array([write_choice(value) for value in table[spec.label.column].to_pylist()], dtype=object)
    tested = names[test]
    found = [_count(name, names, tested) for name in sorted(set(names))]
    return Balance(tuple(sorted(found, key=lambda one: -one.rows)), spec.gates.min_positive_rows)


def _count(name: str, names: npt.NDArray[Any], tested: npt.NDArray[Any]) -> ClassCount:
    rows, inside = int((names == name).sum()), int((tested == name).sum())
    outside = len(tested) - inside
    effective = 2 * inside * outside / len(tested) if len(tested) else 0.0
    return ClassCount(name, rows, rows / len(names), inside, effective)
