"""Label Studio: its exports JSON and JSON-MIN, and tasks that it imports.

The formats are those of https://labelstud.io/guide/task_format and of the converter in HumanSignal/label-studio-sdk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from include.ratchet.labels.items import Item, parse_json, read_time, refuse, require_mapping
from include.ratchet.labels.tasks import Task

TOOL = "label_studio"
_CONTROLS = {"choices": "choices", "number": "number", "rating": "rating"}
"""Kinds of results that say one thing of a whole task -> the field of their value."""
_REMARK = "textarea"
"""A kind of results that may stand beside a label and is none."""


def read_items(name: str, content: bytes, column: str, field: str | None = None) -> list[Item]:
    """Every annotation of an export.

    Args:
        name: the file's, for messages.
        content: JSON or JSON-MIN.
        column: the label's; JSON-MIN has the choice under the control's name, which exported tasks give it.
        field: name of the control in the project, if it is not that one.

    Raises:
        AnnotationError: it is no such export.
    """
    tasks = parse_json(name, content)
    found: list[Item] = []
    for number, one in enumerate(tasks if isinstance(tasks, list) else [tasks], start=1):
        where = f"{name}, item {number}"
        task = require_mapping(where, one, "a task, as Label Studio exports it")
        if "annotations" in task:
            found += _read_task(name, number, task, field)
        elif "annotation_id" in task:
            found.append(_read_minimal(where, task, field or column))
        else:
            raise refuse(where, sorted(task), "a task with `annotations` (JSON) or an `annotation_id` (JSON-MIN)",
                         "Export the project as JSON; a list of tasks to label has no labels.")  # fmt: skip
    return found


def write_tasks(tasks: Sequence[Task], column: str, kind: str) -> str:
    """Tasks that Label Studio imports as JSON; a suggestion becomes a prediction.

    Args:
        tasks: to label.
        column: the label's, which the control is called by.
        kind: of the control: `choices` or `number`.
    """
    content = []
    for task in tasks:
        one: dict[str, Any] = {"data": {**task.fields, "text": task.text}}
        if task.suggestion is not None:
            said = [task.suggestion] if kind == "choices" else float(task.suggestion)
            result = {"from_name": column, "to_name": "row", "type": kind, "value": {kind: said}}
            one["predictions"] = [{"model_version": "ratchet", "result": [result]}]
        content.append(one)
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def write_config(column: str, classes: Sequence[str] | None) -> str:
    """The labelling interface for such tasks, to be pasted into the project's settings."""
    if classes is None:
        control = f'  <Number name={quoteattr(column)} toName="row"/>'
    else:
        choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in classes)
        control = f'  <Choices name={quoteattr(column)} toName="row" choice="single">\n{choices}\n  </Choices>'
    return f'<View>\n  <Text name="row" value="$text"/>\n{control}\n</View>\n'


def _read_task(name: str, number: int, task: Mapping[str, Any], field: str | None) -> Iterator[Item]:
    where = f"{name}, task {task.get('id', number)}"
    data = require_mapping(f"{where}, data", task.get("data"), "the task's data")
    annotations = task["annotations"]
    if not isinstance(annotations, list):
        raise refuse(where, annotations, "a list of annotations", "Export the project again, as JSON.")
    for place, one in enumerate(annotations, start=1):
        at = f"{where}, annotation {one.get('id', place) if isinstance(one, dict) else place}"
        annotation = require_mapping(at, one, "an annotation")
        said = () if annotation.get("was_cancelled") else _read_results(at, annotation.get("result"), field)
        time = read_time(at, annotation.get("updated_at") or annotation.get("created_at"))
        yield Item(TOOL, at, data, said, _name_labeller(annotation.get("completed_by")), time)


def _read_results(where: str, results: Any, field: str | None) -> tuple[Any, ...]:
    """What the one control of interest holds."""
    if not isinstance(results, list):
        raise refuse(where, results, "a list under `result`", "Export the project again, as JSON.")
    kinds = {str(require_mapping(where, one, "a result").get("type")) for one in results}
    if kinds - {*_CONTROLS, _REMARK} and not kinds & {*_CONTROLS}:
        raise refuse(where, sorted(kinds), f"a result of type {', '.join(_CONTROLS)}",
                     "Label whole rows: spans and boxes are no labels of a row.")  # fmt: skip
    chosen = [one for one in results if str(one.get("type")) in _CONTROLS]
    if field is not None:
        chosen = [one for one in chosen if one.get("from_name") == field]
    names = sorted({str(one.get("from_name")) for one in chosen})
    if len(names) > 1:
        raise refuse(where, names, "one control that holds the label", "Name it with --field.")
    said: list[Any] = []
    for one in chosen:
        value = require_mapping(where, one.get("value"), "a result's value").get(_CONTROLS[one["type"]])
        said += value if isinstance(value, list) else [value]
    return tuple(said)


def _read_minimal(where: str, task: Mapping[str, Any], field: str) -> Item:
    where = f"{where}, annotation {task['annotation_id']}"
    if field not in task:
        raise refuse(where, sorted(task), f"a field {field!r} with the choice", "Name the control with --field.")
    said: Any = task[field]
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0]
    if isinstance(said, dict):  # several choices, or a number
        said = next((said[one] for one in _CONTROLS.values() if one in said), None)
    choices = tuple(said) if isinstance(said, list) else () if said is None else (said,)
    time = read_time(where, task.get("updated_at") or task.get("created_at"))
    return Item(TOOL, where, task, choices, _name_labeller(task.get("annotator")), time)


def _name_labeller(who: Any) -> str | None:
    """A user of Label Studio: by e-mail if the export has it, by number otherwise."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return None if who is None else str(who)
