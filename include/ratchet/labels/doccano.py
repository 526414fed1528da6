"""Doccano: its exports JSONL and JSON of a classification project, whole or a file for each user, and its imports.

A project whose members work apart is exported as a zip of `<user>.jsonl`; one that they share as `all.jsonl`. The
columns of an example's meta stand beside `id`, `text`, `label` and `Comments` (doccano's `backend/data_export`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from include.ratchet.labels.items import Item, parse_json, refuse, require_mapping
from include.ratchet.labels.tasks import Task

TOOL = "doccano"
SHARED = "all"
"""Name of the file of a project whose members share their labels: it does not say who said what."""
MAX_BYTES = 1 << 30
"""Of one unpacked file of a zip."""


def read_items(name: str, content: bytes) -> list[Item]:
    """Every labelled or open example of an export.

    Args:
        name: the file's; without its ending, who labelled.
        content: JSONL, JSON or a zip of such files.

    Raises:
        AnnotationError: it is no such export.
    """
    if not name.endswith(".zip"):
        return list(_read_file(name, name, content))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found: list[Item] = []
            for entry in archive.infolist():
                where = f"{name}, {entry.filename}"
                if entry.file_size > MAX_BYTES:
                    most = f"at most {MAX_BYTES} bytes"
                    raise refuse(where, entry.file_size, most, "Export fewer examples at once.")
                found += _read_file(where, entry.filename, archive.read(entry))
            return found
    except zipfile.BadZipFile as error:
        raise refuse(name, content[:20], "a zip, as doccano exports a project", "Export it again.") from error


def write_tasks(tasks: Sequence[Task]) -> str:
    """Examples that doccano imports as JSONL; a suggestion becomes the label to begin with."""
    lines = (
        {"text": task.text, "label": [] if task.suggestion is None else [task.suggestion], **task.fields}
        for task in tasks
    )  # fmt: skip
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _read_file(where: str, name: str, content: bytes) -> Iterator[Item]:
    stem = PurePosixPath(name).stem
    labeller = None if stem == SHARED else stem
    for place, one in _read_records(where, name, content):
        record = require_mapping(place, one, "an example, as doccano exports it")
        label = record.get("label")
        if not isinstance(label, list):
            raise refuse(place, sorted(record), "a list under `label`", "Export a classification project as JSONL.")
        if any(isinstance(choice, list | dict) for choice in label):
            raise refuse(place, label, "the names of labels", "Spans and boxes are no labels of a whole row.")
        yield Item(TOOL, place, record, tuple(label), labeller)


def _read_records(where: str, name: str, content: bytes) -> Iterator[tuple[str, Any]]:
    if name.endswith(".json"):
        records = parse_json(where, content)
        for number, record in enumerate(records if isinstance(records, list) else [records], start=1):
            yield f"{where}, item {number}", record
        return
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield f"{where}, line {number}", parse_json(f"{where}, line {number}", line)
