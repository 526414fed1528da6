"""What a file of a labelling tool says, item by item, before anything of it is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from include.ratchet.errors import AnnotationError

KEY = "ratchet_key"
"""Field of an exported task that carries the row's keys; tools hand it back as it was."""
MODEL = "ratchet_model"
"""Field of an exported task that says whose row it is: the same keys may be those of two models."""


@dataclass(frozen=True)
class Item:
    """One labeller's word on one task.

    Attributes:
        tool: that wrote the file.
        where: file and item, for messages.
        data: fields among which the row's keys are.
        choices: what was chosen; empty if it was skipped or left open.
        labeller: who; None if the file does not say.
        annotated_at: when it was last changed; None if the file does not say.
    """

    tool: str
    where: str
    data: Mapping[str, Any]
    choices: tuple[Any, ...]
    labeller: str | None = None
    annotated_at: datetime | None = None


def refuse(where: str, found: object, expected: str, remedy: str) -> AnnotationError:
    """The error for something that cannot be taken; the text of a hostile file is cut short."""
    shown = repr(found)
    shown = shown if len(shown) <= 200 else f"{shown[:200]}..."
    return AnnotationError(f"{where}: found {shown}; expected {expected}. {remedy}")


def parse_json(where: str, content: bytes | str) -> Any:
    """A JSON document.

    Raises:
        AnnotationError: it is none, or not in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(where, content[:60], f"JSON ({error})", "Export the project again.") from error


def require_mapping(where: str, value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        AnnotationError: it is something else.
    """
    if not isinstance(value, dict):
        raise refuse(where, value, what, "Export the project again, in the format that docs/labels.md names.")
    return value


def read_time(where: str, text: Any) -> datetime | None:
    """An instant in ISO 8601, in UTC where it names no zone; None for none.

    Raises:
        AnnotationError: it is something else.
    """
    if text is None:
        return None
    try:
        return parse_time(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse(where, text, "a time such as 2026-03-01T09:30:00Z", "Export the project again.") from error


def parse_time(text: str) -> datetime:
    """An instant in ISO 8601, in UTC where it names no zone.

    Raises:
        ValueError: it is something else.
        OverflowError: UTC has no such year.
    """
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
