"""Work on a model's labels: taking them in, looking for errors among them, sending rows out, and deciding on them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.annotations import END, Annotation, AnnotationTable
from include.ratchet.data.records import record_key, record_keys
from include.ratchet.data.resolution import Ruling
from include.ratchet.errors import AnnotationError, TooFewRowsError
from include.ratchet.labels.facts import LabelFacts, describe_labels
from include.ratchet.labels.intake import Intake, IntakeReport, import_files
from include.ratchet.labels.queue import Review, ReviewQueue
from include.ratchet.labels.state import LabelState, read_rows, read_state, require_rule
from include.ratchet.labels.suspects import find_suspects
from include.ratchet.labels.tasks import Task, make_tasks
from include.ratchet.labels.values import LabelValues
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import usual_candidate
from include.ratchet.pipeline.train import build_set
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.spec import Model
from include.ratchet.training.split import split_rows


@dataclass(frozen=True)
class LabelSummary:
    """Where a model's labels stand.

    Attributes:
        facts: classes, agreement and human level.
        problem: why there is no test part to count classes in, or nothing.
        unresolved: rows that somebody labelled and that have no label, by why.
        queue: rows of the review queue by state.
    """

    facts: LabelFacts
    problem: str
    unresolved: Mapping[str, int]
    queue: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        parts = {"problem": self.problem, "unresolved": self.unresolved, "queue": self.queue}
        return {"facts": self.facts.to_dict(), **parts}


@dataclass(frozen=True)
class FindReport:
    """What a search for rows to review found.

    Attributes:
        rows: that were looked at.
        conflicts: rows on which labellers differ, and the rule does not settle it.
        suspects: likely errors, without those that a person has decided on.
        added: of both, those that joined the queue; at most `review.max_rows` likely errors do at a time.
    """

    rows: int
    conflicts: int
    suspects: int
    added: int


@dataclass(frozen=True)
class RowHistory:
    """All that was said of one row.

    Attributes:
        said: in the order of time.
        ruling: what came of it; None if nobody has said anything.
        review: its row of the queue, if it has one.
    """

    key: str
    said: tuple[Annotation, ...]
    ruling: Ruling | None
    review: Review | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def summarise_labels(workspace: Workspace, model: Model, as_of: datetime) -> LabelSummary:
    """Where a model's labels stand as of an instant; of a model without annotations, its classes."""
    settings, problem, test = workspace.settings, "", np.array([], dtype=np.int64)
    table = build_set(workspace, TrainingRequest(model.key, "labels", as_of)).read(verify=False)
    try:
        test = split_rows(table, model.spec, as_of).test
    except TooFewRowsError as error:
        problem = str(error)
    facts = describe_labels(settings, model, table, test, as_of)
    if model.spec.label.annotations is None:
        return LabelSummary(facts, problem, {}, {})
    rulings = read_state(settings, model, as_of).rulings.values()
    unresolved = Counter(one.reason for one in rulings if one.value is None)
    states = Counter(one.state for one in ReviewQueue(settings, model.name).all())
    return LabelSummary(facts, problem, dict(sorted(unresolved.items())), dict(sorted(states.items())))


def import_labels(workspace: Workspace, model: Model, paths: Sequence[Path], intake: Intake) -> IntakeReport:
    """Take labels from files, all or none, and close what they settle of the review queue.

    Raises:
        AnnotationError: something in them is not what it must be.
    """
    report = import_files(workspace.settings, model, paths, intake, workspace.clock())
    _close_settled(workspace, model, report.annotations)
    return report


def find_errors(workspace: Workspace, model: Model, as_of: datetime) -> FindReport:
    """Put conflicts and likely errors of the training set as of an instant into the review queue.

    Raises:
        TooFewRowsError: there are too few labelled rows to predict each from others.
    """
    settings, review = workspace.settings, require_rule(model).review
    queue = ReviewQueue(settings, model.name)
    rulings = read_state(settings, model, as_of).rulings
    conflicts = [Review(key, "conflict", None, None, 0.0, as_of) for key, one in rulings.items() if one.is_conflict]
    table = build_set(workspace, TrainingRequest(model.key, "labels", as_of)).read(verify=False)
    candidate = usual_candidate(workspace, model, model.key, {})
    decided = {one.key: one.decided for one in queue.all() if one.state != "open"}
    suspects = [
        one for one in find_suspects(model, candidate, table, review.folds)
        if one.key not in decided or decided[one.key] != one.given
    ]  # fmt: skip
    chosen = [
        Review(one.key, "likely error", one.given, one.suggested, one.score, as_of)
        for one in suspects[: review.max_rows]
    ]
    return FindReport(table.num_rows, len(conflicts), len(suspects), queue.put([*conflicts, *chosen]))


def review_row(workspace: Workspace, model: Model, key: str, choice: str | None, who: str) -> Review | None:
    """Decide on one row: its label is what was chosen or, without a choice, the one that it has.

    Returns:
        Its row of the queue; None if it was not in the queue.

    Raises:
        AnnotationError: no such row or class, or nothing to confirm.
    """
    settings, now = workspace.settings, workspace.clock()
    state = read_state(settings, model, END)
    name, values = _known_key(model, state.rows, key), LabelValues(model, state.rows)
    value = _label_of(model, state, name) if choice is None else values.parse(choice)
    if value is None:
        found = f"no label of {name} to confirm" if choice is None else repr(choice)
        message = f"{model.name}: found {found}; expected {values.expected}. Say it with --value."
        raise AnnotationError(message)
    AnnotationTable(settings, model.name).add([Annotation(name, who, now, value, is_review=True)], now)
    return next(iter(ReviewQueue(settings, model.name).decide([(name, value, who, now)])), None)


def read_queue(workspace: Workspace, model: Model) -> list[Review]:
    """The rows that wait for a person, in the order in which they are to be looked at."""
    return ReviewQueue(workspace.settings, model.name).all("open")


def read_row(workspace: Workspace, model: Model, key: str) -> RowHistory:
    """All that was said of one row.

    Raises:
        AnnotationError: no such row.
    """
    settings = workspace.settings
    state = read_state(settings, model, END)
    name = _known_key(model, state.rows, key)
    said = tuple(one for one in state.annotations if one.key == name)
    review = next((one for one in ReviewQueue(settings, model.name).all() if one.key == name), None)
    return RowHistory(name, said, state.rulings.get(name), review)


def choose_tasks(
    workspace: Workspace, model: Model, what: Literal["queue", "sample"], count: int, *, suggest: bool, seed: int = 0
) -> list[Task]:
    """Rows to send out: the first of the review queue, or a sample of those that no person has labelled.

    Args:
        workspace: the installation.
        model: whose.
        what: which rows.
        count: at most so many.
        suggest: whether labellers see what the model holds to be the label.
        seed: of the sample.
    """
    queue = read_queue(workspace, model)
    suggestions = {one.key: one.suggested for one in queue} if suggest else {}
    if what == "queue":
        keys = [one.key for one in queue[:count]]
    else:
        state = read_state(workspace.settings, model, END)
        free = sorted(set(record_keys(model.spec, state.rows).to_pylist()) - set(state.rulings))
        keys = random.Random(seed).sample(free, min(count, len(free)))  # noqa: S311
    return make_tasks(workspace.settings, model, keys, suggestions)


def classes_of(workspace: Workspace, model: Model) -> tuple[Any, ...] | None:
    """What labellers choose from; None of a regression."""
    return LabelValues(model, read_rows(workspace.settings, model)).classes


def _label_of(model: Model, state: LabelState, key: str) -> Any | None:
    """The label that a row has: by the rule, or the source's where nobody has said anything."""
    if key in state.rulings:
        return state.rulings[key].value
    column = model.spec.label.column
    row = pc.index(record_keys(model.spec, state.rows), key).as_py()
    return state.rows[column][row].as_py() if column in state.rows.column_names else None


def _close_settled(workspace: Workspace, model: Model, annotations: Iterable[Annotation]) -> None:
    """Note in the queue what new annotations decided: they were a review, or the row has another label now."""
    last = {one.key: one for one in annotations if one.value is not None}
    queue = ReviewQueue(workspace.settings, model.name)
    waiting = [one for one in queue.all("open") if one.key in last]
    if not waiting:
        return
    rulings = read_state(workspace.settings, model, END).rulings
    queue.decide(
        (one.key, rulings[one.key].value, last[one.key].labeller, last[one.key].annotated_at)
        for one in waiting
        if rulings[one.key].value is not None and (last[one.key].is_review or rulings[one.key].value != one.given)
    )


def _known_key(model: Model, rows: pa.Table, text: str) -> str:
    """The keys of a row that has landed, from a JSON list or, of a single key, the key itself."""
    names = model.spec.keys
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    candidates = [json.dumps(parts)] if isinstance(parts, list) else []
    if len(names) == 1:
        candidates += [record_key(model.spec, {names[0]: value}) for value in (text, parts)]
    known = set(record_keys(model.spec, rows).to_pylist())
    found = next((one for one in candidates if one in known), None)
    if found is None:
        message = (
            f"{model.name}: found no row with {', '.join(names)} {text!r}; expected the key of one that has landed, or "
            f"a JSON list of {', '.join(names)}. `./ratchet labels queue {model.name}` shows some."
        )
        raise AnnotationError(message)
    return found
