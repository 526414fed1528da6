"""What a service bears: closed loops of ever more connections, each sending its next request after an answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import numpy as np
import orjson

from include.ratchet.errors import ServingError

_GAIN = 1.1
"""The knee is where more connections bring less than a tenth more."""


@dataclass(frozen=True)
class Step:
    """What so many connections gave."""

    connections: int
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def measure(
    url: str, model: str, connections: Sequence[int], seconds: float, rows: int, *, key: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Step]:  # fmt: skip
    """Send a model's own example, as fast as so many connections can.

    Raises:
        ServingError: the service cannot be reached or does not know the model.
    """
    headers = {"X-API-Key": key} if key else {}
    try:
        answer = httpx.get(f"{url}/v1/models/{model}/example", headers=headers, timeout=60)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        message = f"{url} does not answer for {model}: {error}; expected a running service, see ./ratchet status"
        raise ServingError(message) from error
    body = answer.json() | {"rows": answer.json()["rows"] * rows}
    steps = []
    for count in connections:
        say(f"{count} connections for {seconds:g} s ...")
        steps.append(asyncio.run(_run(f"{url}/v1/models/{model}/predict", body, headers, count, seconds)))
    return steps


def find_knee(steps: Sequence[Step]) -> Step:
    """The fewest connections after which more bring hardly more."""
    for now, after in itertools.pairwise(steps):
        if after.rate < now.rate * _GAIN:
            return now
    return steps[-1]


def draw(steps: Sequence[Step], knee: Step, path: str) -> None:
    """Throughput and latency over connections, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    x = [step.connections for step in steps]
    axes.plot(x, [step.rate for step in steps], "o-", color="#0b5cad", label="requests/s")
    axes.axvline(knee.connections, color="#9aa5b1", linestyle="--", linewidth=1, label="knee")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("connections")
    axes.set_ylabel("requests/s")
    right = axes.twinx()
    for name, style in (("p50_ms", "-"), ("p99_ms", ":")):
        right.plot(x, [getattr(step, name) for step in steps], style, color="#b3541e", label=name.replace("_", " "))
    right.set_ylabel("ms")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path)


async def _run(url: str, body: dict[str, Any], headers: dict[str, str], count: int, seconds: float) -> Step:
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    end = time.monotonic() + seconds
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60) as client:
        started = time.monotonic()
        parts = await asyncio.gather(*(_loop(client, url, body, end, number) for number in range(count)))
        elapsed = time.monotonic() - started
    times = np.array([one for latencies, _ in parts for one in latencies]) * 1000
    errors = sum(failed for _, failed in parts)
    if not len(times):
        nothing = float("nan")
        return Step(count, 0.0, nothing, nothing, nothing, errors)
    p50, p95, p99 = np.quantile(times, [0.5, 0.95, 0.99])
    return Step(count, len(times) / elapsed, float(p50), float(p95), float(p99), errors)


async def _loop(
    client: httpx.AsyncClient, url: str, body: dict[str, Any], end: float, number: int
) -> tuple[list[float], int]:
    latencies, errors, sent = [], 0, 0
    while time.monotonic() < end:
        sent += 1
        content = orjson.dumps(body | {"request_id": f"stress-{time.time_ns()}-{number}-{sent}"})
        started = time.monotonic()
        try:
            answer = await client.post(url, content=content)
            is_good = answer.is_success
        except httpx.HTTPError:
            is_good = False
        if is_good:
            latencies.append(time.monotonic() - started)
        else:
            errors += 1
    return latencies, errors
