"""Dividing a snapshot into train, validation and test without letting the future into the past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import TooFewRowsError
from include.ratchet.spec import ModelSpec
from include.ratchet.training.frames import LABEL_AVAILABLE, label_array, times

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts, and what was left out between them.

    Attributes:
        train: rows that candidates are fitted on during the search.
        validation: rows that decide the search.
        test: rows that judge the chosen candidate; nothing has seen them before.
        purged: rows left out because their label was not yet known when the next part begins.
        embargoed: rows left out as too close to the next part.
    """

    train: Rows
    validation: Rows
    test: Rows
    purged: int = 0
    embargoed: int = 0

    @property
    def development(self) -> Rows:
        """Train and validation together: what the final fit learns from."""
        return np.concatenate([self.train, self.validation])


def split_rows(table: pa.Table, spec: ModelSpec, as_of: datetime) -> Split:
    """Divide a snapshot as its spec says.

    Args:
        table: the snapshot, ordered by event time.
        spec: the model's.
        as_of: what the parts of a split by time are counted back from.

    Raises:
        TooFewRowsError: a part is empty, or has rows of one class only.
    """
    parts = _by_time(table, spec, as_of) if spec.training.split.by == "time" else _by_chance(table, spec)
    labels = label_array(table, spec)
    for name in ("train", "validation", "test"):
        rows: Rows = getattr(parts, name)
        if len(rows) == 0:
            message = (
                f"{spec.name}: the {name} part is empty: {table.num_rows} labelled rows as of {as_of:%Y-%m-%d}; "
                "ingest more history, or shorten training.split"
            )
            raise TooFewRowsError(message)
        if spec.task != "regression" and name != "test" and len(np.unique(labels[rows])) < 2:
            message = (
                f"{spec.name}: all {len(rows)} rows of the {name} part have label {labels[rows][0].item()!r}; "
                "expected at least two classes. Widen training.window or training.split"
            )
            raise TooFewRowsError(message)
    return parts


def _by_time(table: pa.Table, spec: ModelSpec, as_of: datetime) -> Split:
    split = spec.training.split
    event, known = times(table, spec.event_time), times(table, LABEL_AVAILABLE)
    test_start = _instant(as_of - split.test)
    validation_start = _instant(as_of - split.test - split.validation)
    embargo = np.timedelta64(split.embargo)
    is_test = event >= test_start
    is_validation = (event >= validation_start) & ~is_test
    is_train = event < validation_start
    late = (is_train & (known >= validation_start)) | (is_validation & (known >= test_start))
    close = (is_train & (event >= validation_start - embargo)) | (is_validation & (event >= test_start - embargo))
    kept = ~late & ~close
    return Split(
        train=np.flatnonzero(is_train & kept),
        validation=np.flatnonzero(is_validation & kept),
        test=np.flatnonzero(is_test),
        purged=int(late.sum()),
        embargoed=int((close & ~late).sum()),
    )


def _by_chance(table: pa.Table, spec: ModelSpec) -> Split:
    from sklearn.model_selection import train_test_split

    split, seed = spec.training.split, spec.training.seed
    rows = np.arange(table.num_rows)
    test_rows, validation_rows = (round(share * len(rows)) for share in (split.test_share, split.validation_share))
    groups = label_array(table, spec) if split.by == "stratified" else None
    try:
        rest, test = train_test_split(rows, test_size=test_rows, random_state=seed, stratify=groups)
        strata: Any = groups[rest] if groups is not None else None
        train, validation = train_test_split(rest, test_size=validation_rows, random_state=seed, stratify=strata)
    except ValueError as error:
        message = f"{spec.name}: {table.num_rows} labelled rows cannot be split ({error}); ingest more history"
        raise TooFewRowsError(message) from error
    return Split(np.sort(train), np.sort(validation), np.sort(test))


def _instant(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None) - (moment.utcoffset() or moment - moment), "us")
