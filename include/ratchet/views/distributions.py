"""How one column is distributed: what the champion learned from, beside one day."""

from __future__ import annotations

import math
from dataclasses import dataclass

from include.ratchet.errors import RecordNotFoundError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey


@dataclass(frozen=True)
class Distribution:
    """One column.

    Attributes:
        column: its name.
        kind: number or category.
        partition: the day.
        version: the champion.
        labels: of the bins; the last one is of nulls.
        reference: (n_bins,) share of the reference's rows in each.
        current: (n_bins,) of the day's.
        reference_rows: of the reference.
        rows: of the day.
        mean: of the day's numbers; None of text.
        minimum: the same.
        maximum: the same.
    """

    column: str
    kind: str
    partition: str
    version: int
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    reference_rows: int
    rows: int
    mean: float | None
    minimum: float | None
    maximum: float | None


def read_distribution(settings: Settings, model: Model, key: ModelKey, partition: str, column: str) -> Distribution:
    """A column of a day beside the reference of the champion that answered then.

    Raises:
        RecordNotFoundError: nobody looked at that day, or the column is not watched.
        VersionNotFoundError: the registry does not have the champion any more.
    """
    from include.ratchet.monitoring.profile import ProfileTable
    from include.ratchet.monitoring.reference import read_reference
    from include.ratchet.monitoring.store import read_look

    look = read_look(key, partition, settings)
    if look is None or look.version is None:
        message = f"{key}: nobody has looked at {partition}, or there was no champion; see the days of the heat map"
        raise RecordNotFoundError(message)
    reference = read_reference(settings, model, key, look.version)
    profile = ProfileTable(settings, model.name).columns(key.segment, partition).get(column)
    place = next(((one, one.columns.index(column)) for one in reference.groups if column in one.columns), None)
    if profile is None or place is None or profile.bins != reference.bins[column].id:
        message = f"{key}: no profile of {column!r} on {partition} in the bins of version {look.version}'s reference"
        raise RecordNotFoundError(message)
    usual, position = place
    bins = reference.bins[column]
    learned = usual.normal.counts.sum(axis=0)[position][: len(bins)]
    known, rows = float(learned.sum()), profile.rows
    return Distribution(
        column, bins.kind, partition, look.version, bins.labels, tuple((learned / max(known, 1.0)).tolist()),
        tuple((profile.counts / max(rows, 1)).tolist()), int(known), rows,
        *(value if math.isfinite(value) else None for value in (profile.mean, profile.minimum, profile.maximum)),
    )  # fmt: skip
