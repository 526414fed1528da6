"""What speaks for and against a challenger: request records of a stage, joined with the labels that have come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import RecordTable
from include.ratchet.evaluation.business import value_landed
from include.ratchet.evaluation.report import row_loss
from include.ratchet.rollout.labels import Outcomes, said_probabilities
from include.ratchet.rollout.sequential import Floats, Moments
from include.ratchet.rollout.state import RolloutState
from include.ratchet.rollout.stretch import KEY, LABEL, PERSON, TRUTH, UNIT, StageRecords, read_stages
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelSpec, partition_of

_TIME = pa.timestamp("us", "UTC")
_NOTHING = Moments(0, 0.0, 0.0)


@dataclass(frozen=True)
class Arm:
    """One version's records of a stage.

    Attributes:
        version: its number.
        rows: records.
        scored: of them, those with a score.
        error_share: of the records, those that ended in an error.
        null_share: of those that did not, those without a score.
        latency_p99_ms: 99th percentile; None without a record of it.
        distinct: different scores.
        loss: of its labelled rows, each key once (log loss, squared error).
    """

    version: int
    rows: int
    scored: int
    error_share: float
    null_share: float
    latency_p99_ms: float | None
    distinct: int
    loss: Moments


@dataclass(frozen=True)
class Human:
    """People's answers beside the model's, on the same rows.

    Attributes:
        rows: where both answered.
        agreement: share of them with the same answer; of a regression, their root mean squared distance.
        labelled: of them, where the truth is known.
        measure: `accuracy`, or `squared error` of a regression.
        people: of people on the labelled rows: human-level performance.
        model: of the model there.
        gap: how much better people are, row by row.
    """

    rows: int
    agreement: float
    labelled: int
    measure: str
    people: float
    model: float
    gap: Moments


@dataclass(frozen=True)
class Worth:
    """What predictions were worth in the business's unit, on labelled rows, each key once.

    Attributes:
        name: of the value.
        unit: that it is counted in.
        champion: of its rows.
        challenger: of its rows; None without one.
        gain: challenger's less champion's on the rows that both scored.
    """

    name: str
    unit: str
    champion: Moments
    challenger: Moments | None
    gain: Moments


@dataclass(frozen=True)
class Evidence:
    """Everything that a look at a stage decides on.

    Attributes:
        since: where the stage's evidence begins, in the records' time.
        as_of: what became known then or later is not in it.
        champion: its records.
        challenger: its records; None if there is none (`defer`).
        paired: challenger's less champion's loss on the labelled rows that both scored.
        shift: distance of the two distributions of scores (Kolmogorov-Smirnov).
        human: people's answers; None unless a person answered.
        worth: of the predictions; None where the spec's scope does not state it.
    """

    since: datetime
    as_of: datetime
    champion: Arm
    challenger: Arm | None
    paired: Moments
    shift: float | None
    human: Human | None = None
    worth: Worth | None = None

    @property
    def subject(self) -> Arm:
        """The version that the guards watch."""
        return self.challenger or self.champion

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "since": self.since.isoformat(), "as_of": self.as_of.isoformat()}


@dataclass(frozen=True)
class _Scored:
    """Scored and labelled rows of one version, in the order of their predictions."""

    units: npt.NDArray[np.int32]
    keys: npt.NDArray[np.int32]
    hours: npt.NDArray[np.int64]
    losses: Floats
    values: Floats


def gather(settings: Settings, model: Model, state: RolloutState, as_of: datetime) -> Evidence:
    """The evidence of the present stage as it stood at `as_of`, of one key."""
    (records,) = read_stages(settings, model, [(state, as_of)])
    return weigh(model, records)


def weigh(model: Model, records: StageRecords) -> Evidence:
    """The evidence of a stage, of what was recorded in it."""
    spec = model.spec
    state, rows, outcomes = records.state, records.rows, records.outcomes
    tables = {
        version: rows.filter(pc.equal(rows["version"], version))
        for version in (state.champion, state.challenger)
        if version is not None
    }
    scored = {version: _score(model, table, outcomes) for version, table in tables.items()}
    arms = {version: _arm(version, tables[version], scored[version]) for version in tables}
    challenger = arms.get(state.challenger) if state.challenger is not None else None
    shift = None
    if state.challenger is not None:
        shift = distance_of(*(_scores(tables[version]) for version in (state.champion, state.challenger)))
    return Evidence(
        since=state.stage_since,
        as_of=records.as_of,
        champion=arms[state.champion],
        challenger=challenger,
        paired=_pair(scored[state.champion], scored[state.challenger], "losses") if state.challenger else _NOTHING,
        shift=shift,
        human=_compare_people(spec, tables[state.champion], outcomes) if state.strategy == "defer" else None,
        worth=_weigh_worth(spec, scored[state.champion], scored.get(state.challenger or 0)),
    )


def newest_record(settings: Settings, model: Model, before: datetime) -> datetime | None:
    """The newest prediction time of the model's records, none of `before` or later; None if there is none."""
    table = RecordTable(settings, model, "requests")
    last = partition_of(model.spec, before + model.spec.prediction_lead).key
    # Newest first: the first partition with a prediction before then has the newest.
    for key in reversed([key for key in table.row_counts() if key <= last]):
        times = table.read([key], columns=["prediction_time"])["prediction_time"]
        newest = pc.max(times.filter(pc.less(times, pa.scalar(before, _TIME)))).as_py()
        if newest is not None:
            return newest  # type: ignore[no-any-return]
    return None


def distance_of(one: Floats, other: Floats) -> float | None:
    """Two-sample Kolmogorov-Smirnov statistic; None if a sample is empty."""
    if not len(one) or not len(other):
        return None
    one, other = np.sort(one), np.sort(other)
    every = np.concatenate([one, other])
    below = [np.searchsorted(sample, every, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def _arm(version: int, table: pa.Table, scored: _Scored) -> Arm:
    failed = table.num_rows - table["error"].null_count
    healthy, scores = table.num_rows - failed, _scores(table)
    latency = pc.drop_null(table["latency_ms"]).to_numpy()
    _, first = np.unique(scored.keys, return_index=True)
    return Arm(
        version=version,
        rows=table.num_rows,
        scored=len(scores),
        error_share=failed / table.num_rows if table.num_rows else 0.0,
        null_share=1 - min(len(scores), healthy) / healthy if healthy else 0.0,
        latency_p99_ms=float(np.quantile(latency, 0.99)) if len(latency) else None,
        distinct=len(np.unique(scores)),
        loss=Moments.of(scored.losses[first]),
    )


def _scores(table: pa.Table) -> Floats:
    scores = pc.drop_null(table["score"]).to_numpy()
    return scores[np.isfinite(scores)]  # type: ignore[no-any-return]


def _score(model: Model, table: pa.Table, outcomes: Outcomes) -> _Scored:
    """Losses and values of the rows that have a score and a label."""
    spec = model.spec
    table = _predicted(spec, table)
    is_known, labels = outcomes.labels.at(table[LABEL].combine_chunks())
    table = table.filter(pa.array(is_known))
    hours = pc.cast(table["event_time"], pa.int64()).to_numpy() // 3_600_000_000
    said: tuple[Floats, npt.NDArray[Any] | None] = (table["score"].to_numpy(), None)
    if spec.task == "multiclass" and spec.business:
        said = _class_scores(table)
    values = value_landed(model, outcomes.landed, table["key"].combine_chunks(), *said)
    return _Scored(table[UNIT].to_numpy(), table[KEY].to_numpy(), hours, _losses(spec, table, labels), values)


def _class_scores(table: pa.Table) -> tuple[Floats, npt.NDArray[Any]]:
    """What was said of each class, (n_rows, n_classes), and the classes' names."""
    shares = said_probabilities(table["output"].to_pylist())
    classes = sorted({name for share in shares for name in share})
    found = [[share.get(name, 0.0) for name in classes] for share in shares]
    return np.array(found, np.float64).reshape(len(shares), max(len(classes), 1)), np.array(classes or [""])


def _weigh_worth(spec: ModelSpec, champion: _Scored, challenger: _Scored | None) -> Worth | None:
    business = spec.business
    if business is None:
        return None

    def of(scored: _Scored) -> Moments:
        _, first = np.unique(scored.keys, return_index=True)
        values = scored.values[first]
        return Moments.of(values[np.isfinite(values)])

    gain = _pair(champion, challenger, "values") if challenger else _NOTHING
    return Worth(business.name, business.unit, of(champion), of(challenger) if challenger else None, gain)


def _predicted(spec: ModelSpec, table: pa.Table) -> pa.Table:
    """The rows of which it is known what the version said; of a multiclass task, each class's probability."""
    table = table.filter(pc.fill_null(pc.is_finite(table["score"]), False))
    if spec.task != "multiclass":
        return table
    return table.filter(pa.array([bool(one) for one in said_probabilities(table["output"].to_pylist())], pa.bool_()))


def _losses(spec: ModelSpec, table: pa.Table, labels: npt.NDArray[Any]) -> Floats:
    scores = np.asarray(table["score"].to_numpy())
    if spec.task != "multiclass":
        return row_loss(spec, labels, scores)
    shares = said_probabilities(table["output"].to_pylist())
    said = np.array([share.get(label, 0.0) for share, label in zip(shares, labels, strict=True)])
    return -np.log(np.clip(said, 1e-15, 1))  # type: ignore[no-any-return]


def _pair(champion: _Scored, challenger: _Scored, what: Literal["losses", "values"]) -> Moments:
    """Differences on what both versions scored; a key that was asked for twice counts once, the first time."""
    _, one, other = np.intersect1d(champion.units, challenger.units, return_indices=True)
    order = np.argsort(one, kind="stable")
    one, other = one[order], other[order]
    _, first = np.unique(champion.keys[one], return_index=True)
    hours = champion.hours[one[first]]
    apart = getattr(challenger, what)[other[first]] - getattr(champion, what)[one[first]]
    is_known = np.isfinite(apart)
    return Moments.of(apart[is_known], hours[is_known], hours[is_known] // 24)


def _compare_people(spec: ModelSpec, table: pa.Table, outcomes: Outcomes) -> Human | None:
    table = _predicted(spec, table)
    _, first = np.unique(table[KEY].to_numpy(), return_index=True)
    table = table.take(pa.array(np.sort(first)))
    answered, people = outcomes.people.at(table[PERSON].combine_chunks())
    table = table.filter(pa.array(answered))
    if table.num_rows == 0:
        return None
    said = _answers(spec, table)
    is_known, truth = outcomes.truths.at(table[TRUTH].combine_chunks())
    is_regression = spec.task == "regression"

    def quality(values: npt.NDArray[Any], against: npt.NDArray[Any]) -> Floats:
        return np.asarray(-((values - against) ** 2) if is_regression else values == against, np.float64)

    by_people, by_model = quality(people[is_known], truth), quality(said[is_known], truth)
    agreement = quality(said, people).mean()
    sign = -1.0 if is_regression else 1.0
    return Human(
        rows=table.num_rows,
        agreement=float(np.sqrt(-agreement) if is_regression else agreement),
        labelled=len(truth),
        measure="squared error" if is_regression else "accuracy",
        people=sign * Moments.of(by_people).mean,
        model=sign * Moments.of(by_model).mean,
        gap=Moments.of(by_people - by_model),
    )


def _answers(spec: ModelSpec, table: pa.Table) -> npt.NDArray[Any]:
    """What the model would have answered, in the labels' terms."""
    scores: Floats = table["score"].to_numpy()
    if spec.task == "regression":
        return scores
    if spec.task == "binary":
        return (scores >= spec.evaluation.threshold).astype(np.float64)
    shares = said_probabilities(table["output"].to_pylist())
    return np.array([max(share, key=lambda name: share[name]) for share in shares], dtype=object)
