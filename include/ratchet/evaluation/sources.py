"""Sources of human bias in the data: what the data say of them, what the owner says, and what nobody has said yet.

The questions are those of Suresh and Guttag (2021, arXiv 1901.10002): how labels came about, who is in the data, how
well the groups are measured, and whether the model's own answers come back as data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.evaluation.parity import Texts, group_texts
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats

SOURCES = "sources.json"
LOOK_DIFFERENCE, LOOK_ERRORS, LOOK_AUC = 0.05, 3.0, 0.7
"""From which difference of shares, in how many standard errors, and from which AUC on an answer is to be looked at."""
_BINS, _SHOWN = 20, 5
_LABELS = {
    "measured": "measured: an instrument or a fact says them", "human": "human: people judged, and may have judged "
    "groups unlike", "process": "process: they tell what was done, such as whom somebody checked",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One question of the checklist.

    Attributes:
        question: about the data.
        answer: with its numbers; empty if it is open.
        status: `answered`, `look` if the numbers ask to be looked at, or `open`.
        by: the data, or the model's owner.
    """

    question: str
    answer: str
    status: Literal["answered", "look", "open"]
    by: Literal["data", "owner"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The finding back from its JSON form."""
        return cls(**content)


@dataclass(frozen=True)
class Served:
    """Rows that were answered lately, old enough for their labels to have come.

    Attributes:
        groups: by sensitive attribute, (n_rows,) text.
        is_labelled: (n_rows,) whether the label has come.
    """

    groups: Mapping[str, Texts] = field(repr=False)
    is_labelled: npt.NDArray[np.bool_] = field(repr=False)


def find_sources(
    spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], features: Sequence[str], served: Served | None
) -> tuple[Finding, ...]:
    """Go through the checklist.

    Args:
        spec: the sensitive attributes, and what the owner says.
        table: rows that the model learnt from, (n_rows,).
        label: (n_rows,); of a multiclass task, positions among the classes.
        features: columns that the model takes.
        served: rows that were answered lately; None if there are none.
    """
    found = list(_ask_owner(spec))
    for column in spec.evaluation.sensitive:
        groups = group_texts(table.column(column).to_pylist())
        own = served.groups.get(column) if served else None
        found.append(_compare_shares(column, groups, own))
        found.append(_compare_arrival(column, own, served))
        if spec.task != "multiclass":
            found.append(_compare_labels(spec, column, groups, label))
        found.append(_compare_gaps(column, table, features, groups))
        found.append(_find_proxies(column, table, features, groups))
    return tuple(found)


def _ask_owner(spec: ModelSpec) -> Iterator[Finding]:
    said = spec.evaluation.bias
    known = {
        "Who or what made the labels?": _LABELS[said.label_source] if said.label_source else None,
        "How were the cases chosen that there is data of, and who is missing?": said.selection,
        "Do answers of the model change which labels come, or what they are?": said.feedback,
    }
    for question, answer in known.items():
        asks = question.startswith("Who") and said.label_source in ("human", "process")
        yield Finding(question, answer or "", "look" if asks else "answered" if answer else "open", "owner")
    if not spec.evaluation.sensitive:
        yield Finding("Which groups could fare unalike?", "", "open", "owner")
    if said.notes:
        yield Finding("What else should be known?", said.notes, "answered", "owner")


def _compare_shares(column: str, groups: Texts, served: Texts | None) -> Finding:
    question = f"Are groups of {column} in training as they are among those served?"
    shares = {name: float((groups == name).mean()) for name in _largest(groups)}
    if served is None or not len(served):
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        return Finding(question, f"no row that was served lately tells; in training: {told}", "open", "data")
    asks = False
    for name, share in {**shares, **dict.fromkeys(_largest(served), 0.0)}.items():
        share = float((groups == name).mean())
        now = float((served == name).mean())
        asks |= _differs(share, len(groups), now, len(served))
        shares[name] = share
    told = ", ".join(f"{name} {share:.1%} and {(served == name).mean():.1%}" for name, share in shares.items())
    return Finding(question, f"in training and served: {told}", "look" if asks else "answered", "data")


def _compare_arrival(column: str, served: Texts | None, rows: Served | None) -> Finding:
    question = f"Do labels come as often for every group of {column}?"
    if served is None or rows is None or not len(served):
        return Finding(question, "no row that was served lately tells", "open", "data")
    return _compare_rates(question, "labels have come of", served, rows.is_labelled.astype(np.float64))


def _compare_labels(spec: ModelSpec, column: str, groups: Texts, label: npt.NDArray[Any]) -> Finding:
    question = f"Is {spec.label.column} alike in every group of {column}?"
    if spec.task == "binary":
        return _compare_rates(question, "positive are", groups, (label == 1).astype(np.float64))
    names = _largest(groups)
    means = {name: float(np.mean(label[groups == name])) for name in names}
    spread = float(np.ptp(list(means.values())) / (np.std(label) or 1.0))
    told = ", ".join(f"{name} {mean:.4g}" for name, mean in means.items())
    answer = f"means: {told}; they differ by {spread:.2f} standard deviations"
    return Finding(question, answer, "look" if spread >= 0.2 else "answered", "data")


def _compare_gaps(column: str, table: pa.Table, features: Sequence[str], groups: Texts) -> Finding:
    question = f"Are values missing as often in every group of {column}?"
    worst, told, asks = 0.0, "no feature has missing values", False
    for name in features:
        if name == column or not table.column(name).null_count:
            continue
        missing = pc.is_null(table.column(name), nan_is_null=True).to_numpy().astype(np.float64)
        one = _compare_rates(question, f"{name} is missing of", groups, missing)
        rates = [float(missing[groups == group].mean()) for group in _largest(groups)]
        if np.ptp(rates) >= worst:
            worst, told, asks = float(np.ptp(rates)), one.answer, one.status == "look"
    return Finding(question, f"most unalike: {told}" if worst else told, "look" if asks else "answered", "data")


def _find_proxies(column: str, table: pa.Table, features: Sequence[str], groups: Texts) -> Finding:
    question = f"Which columns tell the group of {column}?"
    others = [name for name in features if name != column]
    found = {name: tell_group(table.column(name), groups) for name in others}
    ordered = sorted(found, key=lambda name: (-found[name], name))[:_SHOWN]
    told = ", ".join(f"{name} (AUC {found[name]:.2f})" for name in ordered) or "there is no other column"
    asks = bool(ordered) and found[ordered[0]] >= LOOK_AUC
    itself = f"{column} is a feature itself; beside it: " if column in features else ""
    return Finding(question, itself + told, "look" if asks or column in features else "answered", "data")


def tell_group(values: pa.ChunkedArray, groups: Texts) -> float:
    """How well one column tells rows of a group from all others: the largest AUC over groups with enough rows.

    A row is rated by its group's frequency in its bin, or at its value, among the rows of even number; the AUC is of
    those of odd number.
    """
    from sklearn.metrics import roc_auc_score

    bins = _bin(values)
    learnt, kept = slice(0, None, 2), slice(1, None, 2)
    best = 0.5
    for name in _largest(groups):
        inside = (groups == name).astype(np.float64)
        if min(inside[kept].sum(), (1 - inside[kept]).sum()) < _BINS or not inside[learnt].any():
            continue
        counts = np.bincount(bins[learnt], minlength=bins.max() + 1)
        hits = np.bincount(bins[learnt], inside[learnt], bins.max() + 1)
        overall = inside[learnt].mean()
        rating = (hits + overall) / (counts + 1)
        best = max(best, float(roc_auc_score(inside[kept], rating[bins[kept]])))
    return best


def _bin(values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A code for each row: of a number its quantile, of a text itself; missing ones have a code of their own."""
    column = values.combine_chunks()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_boolean(column.type):
        codes = pc.dictionary_encode(column).indices
        return np.asarray(pc.add(pc.fill_null(pc.cast(codes, pa.int64()), -1), 1).to_numpy(zero_copy_only=False))
    numbers = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    return np.where(np.isnan(numbers), 0, 1 + np.searchsorted(edges, numbers, side="right"))


def _largest(groups: Texts) -> list[str]:
    names, counts = np.unique(groups, return_counts=True)
    return [str(names[place]) for place in np.argsort(-counts, kind="stable")[:_SHOWN]]


def _compare_rates(question: str, words: str, groups: Texts, values: Floats) -> Finding:
    """A rate in each of the largest groups; one asks to be looked at if two surely and largely differ."""
    names = _largest(groups)
    rates = {name: (float(values[groups == name].mean()), int((groups == name).sum())) for name in names}
    low, high = min(rates.values()), max(rates.values())
    told = ", ".join(f"{name} {rate:.1%}" for name, (rate, _) in rates.items())
    return Finding(question, f"{words} {told}", "look" if _differs(*low, *high) else "answered", "data")


def _differs(one: float, one_rows: int, other: float, other_rows: int) -> bool:
    """Whether two shares differ by enough, and by enough standard errors of their difference."""
    pooled = (one * one_rows + other * other_rows) / (one_rows + other_rows)
    error = np.sqrt(pooled * (1 - pooled) * (1 / one_rows + 1 / other_rows))
    gap = abs(one - other)
    return bool(gap >= LOOK_DIFFERENCE and gap >= LOOK_ERRORS * error)
