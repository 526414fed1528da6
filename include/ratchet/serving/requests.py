"""A request on its way through the service, and its answer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.records import record_key, record_keys
from include.ratchet.serving.fitted import Deployment, Fitted
from include.ratchet.serving.payload import Rows
from include.ratchet.spec import ModelKey, ModelSpec

_IDS = random.Random()  # noqa: S311 - of its own: nobody else's seed makes two requests one
"""Not the system's source, which would let go of the interpreter for each request."""


@dataclass(frozen=True)
class Basis:
    """What an answer is explained from.

    Attributes:
        features: (n_rows,) of the request.
        answered_by: by row, whose version answered it, and the version; None where a person does.
    """

    features: pa.Table = field(repr=False)
    answered_by: Sequence[tuple[ModelKey, Fitted] | None]

    def choose(self, rows: slice) -> Basis:
        """That of some of the rows."""
        return Basis(self.features.slice(rows.start, rows.stop - rows.start), self.answered_by[rows])


@dataclass(frozen=True)
class Answer:
    """What a request is answered.

    Attributes:
        content: as JSON holds it: request id, model, what the features knew, and one prediction for each row.
        is_repeated: whether it was recorded before, for the same request id.
        basis: of its explanation, if the request asked for one.
    """

    content: dict[str, Any]
    is_repeated: bool = False
    basis: Basis | None = None


@dataclass(frozen=True)
class Request:
    """Rows to predict.

    Attributes:
        id: the caller's, or made.
        is_given: whether the caller gave the id; a second request of that id gets the first one's answer.
        read: its rows, as they were read.
        raw: as they came.
        keys: by row, what labels come by and what routes are chosen by.
        segments: by row, its own.
        answering: by row, what answers it: its segment's model, or the pooled one. Held, so that it answers even if
            it is let go while the request waits.
        received_at: wall clock.
        started: monotonic seconds.
        caller: name of the API key.
        version: the only one that may answer; None: as routed.
        wants_basis: whether its answer is going to be explained.
        done: ends with the answer, when it is recorded.
    """

    id: str
    is_given: bool
    read: Rows
    raw: Sequence[Mapping[str, Any]]
    keys: Sequence[str]
    segments: Sequence[str]
    answering: Sequence[Deployment] = field(repr=False)
    received_at: datetime
    started: float
    caller: str
    version: int | None = None
    wants_basis: bool = False
    done: Future[Answer] = field(default_factory=Future, repr=False, compare=False)

    @property
    def count(self) -> int:
        """Of its rows."""
        return len(self.raw)


def make_request(
    spec: ModelSpec, read: Rows, raw: Sequence[Mapping[str, Any]], *, segments: Sequence[str],
    answering: Sequence[Deployment], given_id: str | None, received_at: datetime, started: float, caller: str,
    version: int | None = None, wants_basis: bool = False,
) -> Request:  # fmt: skip
    """A request of read rows."""
    is_many = isinstance(read, pa.Table)
    keys = record_keys(spec, read).to_pylist() if is_many else [record_key(spec, row) for row in read]
    name = given_id or f"{_IDS.getrandbits(128):032x}"
    return Request(
        name, given_id is not None, read, raw, keys, segments, answering, received_at, started, caller, version,
        wants_basis,
    )  # fmt: skip
