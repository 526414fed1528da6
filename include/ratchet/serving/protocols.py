"""What every protocol does with its rows once it has read them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.errors import NotDeployedError, OverloadError
from include.ratchet.features import Histories
from include.ratchet.serving.explaining import MOST_ROWS
from include.ratchet.serving.fitted import Deployment
from include.ratchet.serving.gate import Refusal, refusal_of
from include.ratchet.serving.payload import Problem, Rows
from include.ratchet.serving.predictor import Predictor
from include.ratchet.serving.requests import Answer, make_request
from include.ratchet.serving.segments import explain_unknown, name_segments
from include.ratchet.serving.service import Service
from include.ratchet.spec import WHOLE, ModelKey, ModelSpec
from include.ratchet.spec.segments import MAX_NAME

_SHOWN = 100
"""Problems that are told of one request; of more, how many there are."""
_ID_LENGTH, _NAME_LENGTH = 200, 63
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""Text without control characters, which not every store of it takes."""


async def predict(
    service: Service, protocol: str, model: str, rows: Any, *, caller: str, request_id: Any = None,
    version: Any = None, segment: Any = None, wants_basis: bool = False,
) -> tuple[Predictor, Answer]:  # fmt: skip
    """Answer rows as a protocol has read them; with what explains the answer, if that is wanted.

    Raises:
        Refusal: they are not answered; it says why.
    """
    started, received_at = time.monotonic(), datetime.now(UTC)
    # A name that is none must not become a label of its own for each caller that invents one.
    label, status = "unknown", 500
    try:
        predictor = await find(service, model)
        label = predictor.key.slug
        pinned = await _pin(service, predictor, version, segment)
        read = _read(predictor, rows)
        given_id = read_text("request_id", request_id)
        if pinned is None:
            segments = name_segments(predictor.model.spec, read)
            answering = await _find_answering(service, predictor, segments)
        else:
            segments, answering = [pinned.key.segment] * len(rows), [pinned] * len(rows)
        request = make_request(
            predictor.model.spec, read, rows, segments=segments, answering=answering, given_id=given_id,
            received_at=received_at, started=started, caller=caller, version=version, wants_basis=wants_basis,
        )  # fmt: skip
        answer = await service.predict(predictor, request)
        status = 200
    except Exception as error:
        refusal = refusal_of(error)
        status = refusal.status
        raise refusal from error
    finally:
        service.metrics.requests.labels(label, protocol, status).inc()
        service.metrics.latency.labels(label).observe(time.monotonic() - started)
    return predictor, answer


async def predict_explained(
    service: Service, protocol: str, model: str, rows: Any, **more: Any
) -> tuple[Predictor, Answer, list[dict[str, Any]]]:
    """The same, and by row what each column contributed to its answer, or why that cannot be said.

    Raises:
        Refusal: the rows are not answered; it says why. What cannot be explained is answered all the same.
    """
    count = len(rows) if isinstance(rows, list) else 0
    if count > MOST_ROWS:
        message = f"{count} rows; at most {MOST_ROWS} are explained at once. Send them in parts, or without explain"
        raise Refusal(413, "too_large", message)
    try:
        service.explaining.reserve(count)
    except OverloadError as error:
        raise refusal_of(error) from error
    try:
        predictor, answer = await predict(service, protocol, model, rows, wants_basis=True, **more)
        counter, name = service.metrics.explained, predictor.key.slug
        told = await service.explaining.explain(
            predictor.model.spec, answer, lambda method, number: counter.labels(name, method).inc(number)
        )
        return predictor, answer, told
    finally:
        service.explaining.release(count)


def read_switch(name: str, given: str | None) -> bool:
    """A switch in the address: left out, it is off.

    Raises:
        Refusal: it is neither `true` nor `false`.
    """
    if given not in (None, "true", "false"):
        raise invalid([Problem((name,), repr(given)[:80], "true or false")])
    return given == "true"


async def find(service: Service, model: str) -> Predictor:
    """A model by its name in a path.

    Raises:
        Refusal: no model can have that name.
        ModelNotFoundError: there is no such model.
        NotDeployedError: it cannot answer yet.
    """
    return await service.find(read_key(model))


def read_key(model: str) -> ModelKey:
    """The key of a model's name in a path.

    Raises:
        Refusal: no model can have that name.
    """
    if len(model) > _NAME_LENGTH:
        message = f"no model {model[:_NAME_LENGTH]!r}..., which is longer than any name"
        raise Refusal(404, "unknown_model", message)
    return ModelKey(model)


def invalid(problems: Sequence[Problem]) -> Refusal:
    """The refusal that says of every wrong field where it is, what was found, and what was expected."""
    first = problems[0]
    where = ".".join(str(part) for part in first.path) or "body"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    message = f"{where}: found {first.found}; expected {first.expected}{more}"
    return Refusal(422, "invalid", message, problems[:_SHOWN])


def _read(predictor: Predictor, rows: Any) -> Rows:
    limit = predictor.model.spec.serving.max_rows
    if not isinstance(rows, list) or not rows:
        raise invalid(
            [Problem(("rows",), "nothing" if rows is None else repr(rows)[:80], "a list of at least one row")]
        )
    if len(rows) > limit:
        message = (
            f"{len(rows)} rows; at most {limit} are taken at once (serving.max_rows). Send them in parts, or in batch"
        )
        raise Refusal(413, "too_large", message)
    read, problems = predictor.reader.read(rows)
    if not problems:
        problems = _check_reach(predictor.model.spec, predictor.online.scorer.histories, read)
    if problems:
        raise invalid(problems)
    return read


def _check_reach(spec: ModelSpec, histories: Histories, rows: Rows) -> list[Problem]:
    """Rows that the online features do not reach: too long ago, or so far ahead that they are too old for them."""
    earliest, latest = histories.reach_from + spec.prediction_lead, None
    if spec.serving.online.when_stale == "refuse" and histories.rows:
        latest = histories.known_until + spec.serving.online.max_age + spec.prediction_lead
    if isinstance(rows, pa.Table):
        bounds = pc.min_max(rows[spec.event_time]).as_py()
        if earliest <= bounds["min"] and (latest is None or bounds["max"] <= latest):
            return []
        rows = rows.to_pylist()
    found = []
    for number, row in enumerate(rows):
        event = row[spec.event_time]
        if event < earliest:
            expected = f"at or after {earliest.isoformat()}, as the online features reach no further back"
            found.append(Problem(("rows", number, spec.event_time), event.isoformat(), expected))
        elif latest is not None and event > latest:
            message = (
                f"the online features know the world until {histories.known_until.isoformat()}; for "
                f"{event.isoformat()} they are older than serving.online.max_age. Ingestion brings them up to date"
            )
            raise Refusal(503, "stale", message, headers={"Retry-After": "60"})
    return found


async def _find_answering(service: Service, predictor: Predictor, segments: Sequence[str]) -> list[Deployment]:
    """What answers each row.

    Raises:
        Refusal: nothing answers for some rows; it names them.
    """
    found = await service.find_deployments(predictor, segments)
    answering = [found[segment] for segment in segments]
    absent = [row for row, one in enumerate(answering) if isinstance(one, BaseException)]
    if absent:
        error = answering[absent[0]]
        refusal = refusal_of(error) if isinstance(error, Exception) else Refusal(500, "failed", "the service stops")
        problems = [Problem(("rows", row), f"segment {segments[row]!r}"[:320], "one that a model answers for")
                    for row in absent[:_SHOWN]]  # fmt: skip
        raise Refusal(refusal.status, refusal.code, refusal.message, problems, refusal.headers)
    return [one for one in answering if not isinstance(one, BaseException)]


async def find_part(service: Service, predictor: Predictor, segment: str | None) -> Deployment:
    """What answers for the whole or pooled model, or for a segment by a model of its own.

    Raises:
        Refusal: no such segment has one.
        NotDeployedError: the whole has none yet.
    """
    if segment is None or segment == WHOLE:
        return await service.find_deployment(predictor)
    key, known = ModelKey(predictor.key.model, segment), service.deployments.segments(predictor.key.model)
    if predictor.model.spec.segments is None or segment not in known:
        message = await asyncio.get_running_loop().run_in_executor(None, explain_unknown, key, known)
        raise Refusal(404, "unknown_segment", message)
    found = await service.find_deployment(predictor, segment)
    if found.key != key:
        message = f"{key} cannot be loaded now, and the pooled model answers for it; the service's log says why"
        raise NotDeployedError(message)
    return found


async def find_whole(service: Service, predictor: Predictor) -> Deployment | None:
    """What answers for the whole or pooled model; None if there is none, or if it cannot be loaded now."""
    found = (await service.find_deployments(predictor, [WHOLE]))[WHOLE]
    return None if isinstance(found, BaseException) else found


async def _pin(service: Service, predictor: Predictor, version: Any, segment: Any) -> Deployment | None:
    """The model that a version was asked for of, with that version; None as long as routes choose."""
    part = read_segment(segment)
    if version is None:
        if part is None:
            return None
        expected = "a version beside it; without one, rows say by their own values which segment they belong to"
        raise invalid([Problem(("segment",), repr(segment)[:80], expected)])
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        raise invalid([Problem(("version",), repr(version)[:80], "a version's number")])
    return await service.load_pinned(predictor, await find_part(service, predictor, part), version)


def read_segment(given: Any) -> str | None:
    """A segment that a caller names, None if it was left out.

    Raises:
        Refusal: no segment can have that name.
    """
    if given is None:
        return None
    if not isinstance(given, str) or not 0 < len(given) <= MAX_NAME or "\0" in given:
        raise invalid(
            [Problem(("segment",), repr(given)[:80], f"the name of a segment, of 1 to {MAX_NAME} characters")]
        )
    return given


def read_text(name: str, given: Any, length: int = _ID_LENGTH) -> str | None:
    """A field that is text, None if it was left out.

    Raises:
        Refusal: it is no text, or too long.
    """
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > length or not re.search(TEXT_PATTERN, given):
        expected = f"text of 1 to {length} printable characters"
        raise invalid([Problem((name,), repr(given)[:80], expected)])
    return given
