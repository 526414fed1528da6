"""Tables and words of a card in Markdown, harmless whatever users or data supplied."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any


def draw_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def escape(value: Any) -> str:
    """What a model, a category or a feature is called, harmless in Markdown and in the HTML made from it."""
    escaped = html.escape(str(value), quote=False).replace("\n", " ")
    for character in "\\`*[]|!":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    # Within a word an underscore is text to Markdown; at its end it is emphasis.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", "&#95;", escaped)
