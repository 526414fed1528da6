"""A receiver of OpenLineage events, and what the official client says that an event must look like.

The client is generated from OpenLineage's JSON schemas, and its classes carry their addresses; from them come schemas
again, with the fields, types and which of them must be there. With `OPENLINEAGE_SPEC`, the folder `spec` of a checkout
of https://github.com/OpenLineage/OpenLineage, events are held against the originals besides.
"""

from __future__ import annotations

import enum
import importlib
import json
import os
import pkgutil
import threading
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr

Json = dict[str, Any]
EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


class Receiver:
    """A server that takes events, or answers each with an error."""

    def __init__(self, status: int = 201) -> None:
        self.events: list[Json] = []
        self.asked = 0
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                own.asked += 1
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if status < 300:
                    own.events.append(event)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening: what is sent from now on is refused."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receive(status: int = 201) -> Iterator[Receiver]:
    """A receiver for as long as it is needed."""
    receiver = Receiver(status)
    try:
        yield receiver
    finally:
        receiver.close()


def facets_of(event: Json) -> Iterator[tuple[str, Json]]:
    """Every facet of an event, by name."""
    yield from event["run"].get("facets", {}).items()
    yield from event["job"].get("facets", {}).items()
    for dataset in [*event["inputs"], *event["outputs"]]:
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from (dataset.get(kind) or {}).items()


def client_schemas() -> dict[str, Json]:
    """The schema of every class of the official client, by the address that it carries."""
    from openlineage.client import generated
    from openlineage.client.event_v2 import RunEvent

    modules = [
        importlib.import_module(f"{generated.__name__}.{one.name}") for one in pkgutil.iter_modules(generated.__path__)
    ]
    classes = [
        one for module in modules for one in vars(module).values() if attr.has(one) and hasattr(one, "_get_schema")
    ]
    return {one._get_schema(): _schema_of(one) for one in [*classes, RunEvent]}


def official_documents() -> dict[str, Json]:
    """OpenLineage's own schemas by their address, if there is a checkout of them."""
    folder = os.environ.get("OPENLINEAGE_SPEC")
    found = [json.loads(path.read_text()) for path in Path(folder).rglob("*.json")] if folder else []
    return {one["$id"]: one for one in found if "$id" in one}


def _schema_of(kind: Any, *within: Any) -> Json:
    if kind in within:  # a field of a column that has fields itself
        return {"type": "object"}
    # Annotations of inherited fields are written in the modules of their own classes.
    modules = [vars(importlib.import_module(one.__module__)) for one in reversed(kind.__mro__)]
    hints = typing.get_type_hints(
        kind, {name: value for names in [vars(typing), *modules] for name, value in names.items()}
    )
    fields = [one for one in attr.fields(kind) if not one.name.startswith("_base")]
    return {
        "type": "object",
        "properties": {one.name: _type_of(hints[one.name], *within, kind) for one in fields},
        "required": [one.name for one in fields if one.default is attr.NOTHING or one.name in _ALWAYS],
    }


_ALWAYS = {"_producer", "_schemaURL", "producer", "schemaURL"}


def _type_of(hint: Any, *within: Any) -> Json:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_type_of(one, *within) for one in inner]}
    if origin is list:
        return {"type": "array", "items": _type_of(inner[0], *within)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_of(inner[1], *within)}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [one.value for one in hint]}
    if attr.has(hint):
        return _schema_of(hint, *within)
    named = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    return {"type": named[hint]} if hint in named else {}
