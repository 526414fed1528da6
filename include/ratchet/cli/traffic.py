"""Past rows lived again as traffic: each is asked when it would have been, and its label comes when it became known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pyarrow as pa

from include.ratchet.data.sources import open_source
from include.ratchet.errors import ServingError
from include.ratchet.features.schema import known_columns

if TYPE_CHECKING:
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.spec import Model, Partition

CONNECTIONS = 32
_STEP = timedelta(hours=1)
"""What happens within one step is sent at once; the steps follow each other."""
_FAR = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Question:
    """One row to predict.

    Attributes:
        id: of the request.
        asked_at: when it is sent.
        row: what the caller knows.
        label: how it turned out; None: nobody ever knew.
        known_at: when that became known.
    """

    id: str
    asked_at: datetime
    row: Mapping[str, Any]
    label: Any
    known_at: datetime


def read_questions(workspace: Workspace, model: Model, days: Sequence[Partition]) -> list[Question]:
    """The rows of some partitions as their source has them in the end, in the order in which they are asked for.

    What would have been asked before the first partition began is asked at its beginning.
    """
    spec, label = model.spec, model.spec.label
    source, names = open_source(model, model.name, workspace.connections), known_columns(model)
    found = [
        Question("-".join(str(row[key]) for key in spec.keys),
                 max(row[spec.event_time] - spec.prediction_lead, days[0].start),
                 {name: row[name] for name in names}, row[label.column],
                 row[label.available_time] if label.available_time else row[spec.event_time] + label.delay)
        for day in days
        for row in _to_rows(source.read(day, _FAR).table)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.asked_at, one.id))


def _to_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with instants as JSON has them; finer ones than microseconds would be pandas' own."""
    fields = [kind.with_type(pa.timestamp("us", kind.type.tz)) if pa.types.is_timestamp(kind.type) else kind
              for kind in table.schema]  # fmt: skip
    rows: list[dict[str, Any]] = table.cast(pa.schema(fields), safe=False).to_pylist()
    return rows


@dataclass(frozen=True)
class Answered:
    """What the service said to a question, and how long that took."""

    question: Question
    score: float
    version: int
    route: str
    latency_ms: float


@dataclass
class Traffic:
    """Sends questions and labels in the order of their time.

    Args:
        url: of the service.
        model: who is asked.
        questions: all that will be asked.
        say: hears the simulated time and all answers so far.
    """

    url: str
    model: str
    questions: Sequence[Question]
    say: Callable[[datetime, Sequence[Answered]], None] = lambda now, answers: None
    answered: list[Answered] = field(default_factory=list)
    labelled: set[str] = field(default_factory=set)
    seconds: float = 0.0

    def live(self, start: datetime, end: datetime) -> None:
        """Let the time pass from one instant to another.

        Raises:
            ServingError: the service does not answer, or refuses.
        """
        begun = time.monotonic()
        asyncio.run(self._live(start, end))
        self.seconds += time.monotonic() - begun

    async def _live(self, start: datetime, end: datetime) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        async with httpx.AsyncClient(base_url=f"{self.url}/v1/models/{self.model}", limits=limits, timeout=60) as http:
            while start < end:
                now = min(start + _STEP, end)
                due = [one for one in self.questions if start <= one.asked_at < now]
                turn = asyncio.Semaphore(CONNECTIONS)
                self.answered += await asyncio.gather(*(self._ask(http, one, turn) for one in due))
                await self._tell(http, [
                    one for one in self.questions
                    if start <= one.known_at < now and one.label is not None
                ])  # fmt: skip
                self.say(now, self.answered)
                start = now

    async def _ask(self, http: httpx.AsyncClient, question: Question, turn: asyncio.Semaphore) -> Answered:
        async with turn:
            begun = time.monotonic()
            answer = await _post(http, "/predict", {"request_id": question.id, "rows": [question.row]})
            latency = (time.monotonic() - begun) * 1000
        (one,) = answer["predictions"]
        return Answered(question, one["score"], one["version"], one["route"], latency)

    async def _tell(self, http: httpx.AsyncClient, known: Iterable[Question]) -> None:
        said = [{"request_id": one.id, "value": one.label, "available_time": one.known_at} for one in known]
        if said:
            await _post(http, "/feedback", {"feedback": said})
            self.labelled |= {one["request_id"] for one in said}


async def _post(http: httpx.AsyncClient, path: str, content: Mapping[str, Any]) -> Any:
    try:
        answer = await http.post(path, content=orjson.dumps(content))
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        message = f"{error.request.url} answered {error.response.status_code}: {error.response.text[:500]}"
        raise ServingError(message) from error
    except httpx.HTTPError as error:
        message = f"{http.base_url} does not answer: {error!r}; see ./ratchet status"
        raise ServingError(message) from error
    return answer.json()
