"""What processes of their own do to a bucket, all at once; they load no more than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.ratchet.data.blobs import BucketBlobs
from include.ratchet.data.records import RecordTable, to_table
from include.ratchet.data.tables import Table, retry_commits
from include.ratchet.errors import StoreError
from include.ratchet.settings import Settings
from include.ratchet.spec import load_model
from tests.include.ratchet.data.orders import land_day, order

DAYS, ORDERS = 20, 8
ROWS = [order(number, 1 + number // ORDERS) for number in range(DAYS * ORDERS)]


def claim(place: Settings, names: list[str], writer: str, together: Any) -> list[str]:
    """The names that fell to a writer; all begin when the last of them is ready."""
    blobs = BucketBlobs(place.store, place.storage_options)
    assert blobs.get("nothing") is None
    together.wait(120)
    with ThreadPoolExecutor(2) as pool:
        won = pool.map(lambda name: blobs.put_new(name, writer.encode()), names)
        return [name for name, is_won in zip(names, won, strict=True) if is_won]


def land_all(place: Settings, numbers: range) -> None:
    model = load_model(place.models_dir / "orders")
    for number in numbers:
        land_day(model, number, place)


def work(place: Settings, writer: str) -> float:
    """Land, append and put, one after the other; the longest that one of them took, in seconds."""
    model, longest = load_model(place.models_dir / "orders"), 0.0
    records, blobs = RecordTable(place, model, "requests"), BucketBlobs(place.store, place.storage_options)

    def append(number: int) -> bool:
        placed = ROWS[ORDERS * (number - 1)]["placed_at"]
        rows = to_table(model.spec, "requests", [{"request_id": f"{writer}-{number}", "row": 0, "event_time": placed}])
        return retry_commits(lambda: records.append_table(rows, writer, number), records.name)

    for number in range(1, DAYS + 1):
        steps: list[Callable[[], Any]] = [
            lambda: land_day(model, number, place),  # noqa: B023 - called in this round
            lambda: append(number),  # noqa: B023
            lambda: blobs.put(f"{writer}/{number}", writer.encode() * 1000),  # noqa: B023
            lambda: blobs.put_new(f"new/{writer}/{number}", writer.encode()),  # noqa: B023
            lambda: blobs.get(f"{writer}/{number}"),  # noqa: B023
            lambda: blobs.names("new"),
        ]
        for step in steps:
            began = time.monotonic()
            done = step()
            longest = max(longest, time.monotonic() - began)
            assert done is not False
    return longest


def refuse(place: Settings, what: str) -> tuple[str, float]:
    """What a store's refusal says, and after how many seconds."""
    began = time.monotonic()
    try:
        if what == "file":
            BucketBlobs(place.store, place.storage_options).put("any", b"")
        else:
            Table(place, "orders", "orders").version()
    except StoreError as error:
        return str(error), time.monotonic() - began
    message = "nothing was refused"
    raise AssertionError(message)
