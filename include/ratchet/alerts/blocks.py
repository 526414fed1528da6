"""Slack's Block Kit, within its limits: what is too long is cut, what is markup in data is escaped.

Limits: https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HEADER_CHARACTERS = 150
SECTION_CHARACTERS = 3000
FIELD_CHARACTERS = 2000
FIELDS = 10
BLOCKS = 50
TEXT_CHARACTERS = 4000

Block = dict[str, Any]


def header(text: str) -> Block:
    """One bold line; plain text, so nothing in it is markup."""
    return {"type": "header", "text": {"type": "plain_text", "text": cut(text, HEADER_CHARACTERS)}}


def section(text: str) -> Block:
    """A paragraph in Slack's markup; escape what data supplies."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION_CHARACTERS)}}


def code(text: str) -> Block:
    """Text in columns, as it is."""
    inner = escape(text.replace("```", "'''"))
    return section(f"```{cut(inner, SECTION_CHARACTERS - 6)}```")


def fields(values: Mapping[str, Any]) -> Block:
    """Short facts side by side."""
    shown = list(values.items())[:FIELDS]
    texts = [cut(f"*{escape(name)}*\n{escape(str(value))}", FIELD_CHARACTERS) for name, value in shown]
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in texts]}


def links(targets: Mapping[str, str]) -> Block:
    """Where to look."""
    text = "  ".join(f"<{escape(url)}|{escape(name)}>" for name, url in targets.items())
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": cut(text, SECTION_CHARACTERS)}]}


def collect(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Blocks of one message, no more than Slack takes."""
    return tuple(blocks)[:BLOCKS]


def cut(text: str, limit: int) -> str:
    """At most so many characters; a cut is shown."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape(text: str) -> str:
    """The three characters that are markup to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
