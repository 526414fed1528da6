"""From items of a file to annotations of a model's rows: everything is checked before anything is kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from include.ratchet.data.annotations import Annotation, AnnotationTable
from include.ratchet.data.records import record_key, record_keys
from include.ratchet.errors import AnnotationError
from include.ratchet.labels import doccano, label_studio
from include.ratchet.labels.items import KEY, MODEL, Item, parse_time, refuse
from include.ratchet.labels.state import read_rows, require_rule
from include.ratchet.labels.values import LabelValues
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.spec.labels import SOURCE

Tool = Literal["label_studio", "doccano"]


@dataclass(frozen=True)
class Intake:
    """How files are to be read.

    Attributes:
        tool: that wrote them; None: a `.json` is Label Studio's, a `.jsonl` or `.zip` is doccano's.
        labeller: who labelled, whatever the files say.
        field: of the control that holds the label, where a project has several.
        at: when it was said, where the files do not say.
        is_review: whether what they say settles a row, above the rule.
    """

    tool: Tool | None = None
    labeller: str | None = None
    field: str | None = None
    at: datetime | None = None
    is_review: bool = False


@dataclass(frozen=True)
class IntakeReport:
    """What came of an import.

    Attributes:
        added: annotations that are new.
        known: that had been imported before, or repeat what their labeller said last.
        open: items without a label: skipped, or not labelled yet.
        labellers: annotations of each, the new ones.
        annotations: the new ones.
    """

    added: int
    known: int
    open: int
    labellers: dict[str, int]
    annotations: tuple[Annotation, ...]


def import_files(
    settings: Settings, model: Model, paths: Sequence[Path], intake: Intake, now: datetime
) -> IntakeReport:
    """Take labels from files of a tool: all of them, or none.

    Raises:
        AnnotationError: one of them is not what it must be, with file, item, value and remedy.
    """
    require_rule(model)
    table = AnnotationTable(settings, model.name)
    items = [item for path in paths for item in read_file(path, model, intake)]
    annotations, untimed = check_items(settings, model, items, intake, now)
    fresh = _leave_known(annotations, untimed, table.all())
    table.add(fresh, now)
    counts: dict[str, int] = {}
    for one in fresh:
        counts[one.labeller] = counts.get(one.labeller, 0) + 1
    silent = sum(one.value is None for one in annotations)
    known = len(annotations) - silent - sum(one.value is not None for one in fresh)
    return IntakeReport(len(fresh), known, silent, dict(sorted(counts.items())), tuple(fresh))


def read_file(path: Path, model: Model, intake: Intake) -> list[Item]:
    """The items of one file.

    Raises:
        AnnotationError: it cannot be read, or is no export of that tool.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); expected a file that a labelling tool exported."
        raise AnnotationError(message) from error
    if _tool_of(path, intake) == "doccano":
        return doccano.read_items(path.name, content)
    return label_studio.read_items(path.name, content, model.spec.label.column, intake.field)


def check_items(
    settings: Settings, model: Model, items: Sequence[Item], intake: Intake, now: datetime
) -> tuple[list[Annotation], set[Any]]:
    """The items as annotations of rows that have landed, in the order of their times.

    Returns:
        The annotations, and the identities of those whose file does not say when.

    Raises:
        AnnotationError: for the first that is not what it must be.
    """
    rows = read_rows(settings, model)
    keys, values = set(record_keys(model.spec, rows).to_pylist()), LabelValues(model, rows)
    found: dict[Any, tuple[Annotation, Item]] = {}
    for item in items:
        one = _check_item(model, item, values, intake, now)
        if one.key not in keys:
            raise refuse(item.where, one.key, f"the keys of a row of {model.name} that has landed",
                         "Ingest its day first, or take the task out of the file.")  # fmt: skip
        if one.identity in found:
            twice = f"a second label of {one.labeller} for {one.key} at the same time"
            first = f"one, as in {found[one.identity][1].where}"
            raise refuse(item.where, twice, first, "Take one of the two out of the file.")
        found[one.identity] = one, item
    ordered = sorted((one for one, _ in found.values()), key=lambda one: (one.annotated_at, one.identity))
    return ordered, {identity for identity, (_, item) in found.items() if item.annotated_at is None}


def _check_item(model: Model, item: Item, values: LabelValues, intake: Intake, now: datetime) -> Annotation:
    labeller = intake.labeller or item.labeller
    if not labeller or labeller == SOURCE:
        raise refuse(item.where, labeller, f"who labelled, and not {SOURCE!r}, which is the model's own source",
                     "Say it with --labeller.")  # fmt: skip
    at = item.annotated_at or intake.at or now
    if at > now:
        raise refuse(item.where, at.isoformat(), f"a time that is not after {now.isoformat()}",
                     "Look at the clock of the tool.")  # fmt: skip
    if len(item.choices) > 1:
        raise refuse(item.where, list(item.choices), "one label, as a row has one",
                     "Let the labeller choose, or make the control one of a single choice.")  # fmt: skip
    value = values.parse(item.choices[0]) if item.choices else None
    if item.choices and value is None:
        remedy = f"Rename the choice, or declare the class under columns.{model.spec.label.column}.values."
        raise refuse(item.where, item.choices[0], values.expected, remedy)
    return Annotation(_find_key(model, item), labeller, at, value, item.tool, intake.is_review)


def _find_key(model: Model, item: Item) -> str:
    """The row's keys: as an exported task carries them, or from columns of the task's data."""
    names, data = model.spec.keys, item.data
    if data.get(MODEL, model.name) != model.name:
        raise refuse(item.where, data[MODEL], f"a task of {model.name}", "Import it for the model that it is of.")
    carried = data.get(KEY)
    if carried is None:
        lost = [name for name in names if data.get(name) is None]
        if lost:
            raise refuse(item.where, sorted(data), f"{KEY}, or the keys {', '.join(names)}",
                         "Label tasks that `./ratchet labels export` wrote, or give their data the keys.")  # fmt: skip
        return record_key(model.spec, {name: _read_key(model, item, name) for name in names})
    try:
        parts = json.loads(carried)
    except (TypeError, ValueError):
        parts = None
    if not isinstance(parts, list) or len(parts) != len(names):
        raise refuse(item.where, carried, f"{KEY} with a JSON list of {', '.join(names)}",
                     "It must come back as it was exported.")  # fmt: skip
    return json.dumps(parts)


def _read_key(model: Model, item: Item, name: str) -> Any:
    declared, value = model.spec.columns.get(name), item.data[name]
    kind = declared.type if declared else "string"
    try:
        if kind == "timestamp":
            return parse_time(value)
        if kind == "integer":
            return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(item.where, value, f"a {kind} under {name}", "Give the task the row's own key.") from error
    return str(value) if kind == "string" else value


def _leave_known(annotations: Iterable[Annotation], untimed: Collection[Any], known: Sequence[Annotation]
                 ) -> list[Annotation]:  # fmt: skip
    """Those that say something new.

    Silence of somebody who never spoke says nothing, and neither does a word repeated by a file without times: read
    again, such a file says everything again, as of now.
    """
    told: dict[Any, list[Annotation]] = {}
    for one in known:
        told.setdefault(_who(one), []).append(one)
    fresh: list[Annotation] = []
    for one in annotations:
        own = [other for other in told.setdefault(_who(one), []) if other.annotated_at <= one.annotated_at]
        if any(other.identity == one.identity and other.value == one.value for other in own):
            continue
        last = max(own, key=lambda other: other.annotated_at).value if own else None
        if one.value == last and (one.value is None or one.identity in untimed):
            continue
        fresh.append(one)
        told[_who(one)].append(one)
    return fresh


def _who(one: Annotation) -> tuple[str, str, bool]:
    return one.key, one.labeller, one.is_review


def _tool_of(path: Path, intake: Intake) -> Tool:
    if intake.tool is not None:
        return intake.tool
    tools: dict[str, Tool] = {".json": "label_studio", ".jsonl": "doccano", ".zip": "doccano"}
    if path.suffix not in tools:
        raise refuse(str(path), path.suffix, "the ending .json, .jsonl or .zip", "Name the tool with --tool.")
    return tools[path.suffix]
