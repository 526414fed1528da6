"""What an object store does amiss: what passes is waited out, what does not is said."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pytest

from include.ratchet.data import store
from include.ratchet.data.blobs import BucketBlobs
from include.ratchet.data.store import complete_options, delta_options, open_client
from include.ratchet.data.tables import Table, retry_commits
from include.ratchet.errors import StoreError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.faulty import Fault, answer_amiss
from tests.include.ratchet.data.orders import land_day, order, write_rows
from tests.ports import free_port


def test_plain_endpoint_is_called_plainly_and_any_region_will_do() -> None:
    given = {"AWS_ENDPOINT_URL": "http://store:8333", "AWS_ACCESS_KEY_ID": "a"}
    assert complete_options(given) == {**given, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    assert complete_options({"AWS_DEFAULT_REGION": "eu-west-3"})["AWS_REGION"] == "eu-west-3"
    assert "AWS_ALLOW_HTTP" not in complete_options({"AWS_ENDPOINT_URL": "https://store"})
    assert complete_options({**given, "AWS_ALLOW_HTTP": "false"})["AWS_ALLOW_HTTP"] == "false"


def test_what_is_given_goes_before_our_patience() -> None:
    assert delta_options({})["retry_timeout"] == "30s"
    assert delta_options({"retry_timeout": "5s"})["retry_timeout"] == "5s"


@pytest.mark.parametrize(
    ("method", "fault", "times"),
    [
        ("PUT", "SlowDown", 4),
        ("PUT", "ConditionalRequestConflict", 1),
        ("PUT", "no answer", 1),
        ("GET", "SlowDown", 1),
        ("GET", "half an answer", 1),
    ],
)
def test_file_is_read_and_written_once_whatever_comes_between(
    bucket: str, object_store: dict[str, str], method: str, fault: Fault, times: int
) -> None:
    with answer_amiss(object_store["AWS_ENDPOINT_URL"], fault, method, times) as url:
        blobs = BucketBlobs(f"s3://{bucket}/store", {**object_store, "AWS_ENDPOINT_URL": url})
        assert blobs.put_new("new", b"0123456789")
        assert not blobs.put_new("new", b"another")
        blobs.put("put", b"abcdefghij")
        assert blobs.get("new") == b"0123456789"
        assert blobs.get("put") == b"abcdefghij"


@pytest.mark.parametrize("fault", ["SlowDown", "no answer"])
def test_commit_that_got_no_answer_is_made_once(
    model: Model, settings: Settings, bucket: str, object_store: dict[str, str], fault: Fault
) -> None:
    write_rows(model, [order(number, 1 + number // 8) for number in range(24)])
    with answer_amiss(object_store["AWS_ENDPOINT_URL"], fault, "PUT", part="_delta_log") as url:
        options = {**object_store, "AWS_ENDPOINT_URL": url}
        place = dataclasses.replace(settings, store=f"s3://{bucket}/store", storage_options=options)
        for number in (1, 2, 3):
            land_day(model, number, place)
        table = Table(place, "orders", "orders")
        assert table.row_counts() == {"2024-01-01": 8, "2024-01-02": 8, "2024-01-03": 8}
        assert table.version() == 2


@pytest.fixture(params=["file", "table"])
def ask(request: pytest.FixtureRequest, settings: Settings) -> Callable[[str, dict[str, str]], object]:
    """Asks for something of a store, by either way."""

    def call(place: str, options: dict[str, str]) -> object:
        if request.param == "file":
            return BucketBlobs(place, options).get("any")
        changed = dataclasses.replace(settings, store=place, storage_options=options)
        return Table(changed, "orders", "orders").version()

    return call


def test_bucket_that_is_not_there_is_named(ask: Callable[..., object], object_store: dict[str, str]) -> None:
    with pytest.raises(
        StoreError, match="s3://nowhere/store/.*: found 'NoSuchBucket.*; expected that bucket"
    ) as raised:
        ask("s3://nowhere/store", object_store)
    assert object_store["AWS_ENDPOINT_URL"] in str(raised.value)


def test_endpoint_that_is_away_for_too_long_is_named(
    ask: Callable[..., object], object_store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 0.5)
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(StoreError, match=f"at {url}: found .*; expected a store that answers there"):
        ask("s3://bucket/store", {**object_store, "AWS_ENDPOINT_URL": url, "retry_timeout": "1s"})
    assert time.monotonic() - began < 15


def test_other_failures_of_a_disk_are_not_tried_again() -> None:
    tried = []

    def attempt() -> None:
        tried.append(1)
        message = "disk full"
        raise OSError(message)

    with pytest.raises(OSError, match="disk full"):
        retry_commits(attempt, "a table")
    assert tried == [1]


def test_store_that_loses_its_thread_again_and_again_is_named() -> None:
    tried = []

    def attempt() -> None:
        tried.append(1)
        message = "Kernel error\n \x1b[31m↳\x1b[0m Generic S3 error\n \x1b[31m↳\x1b[0m connection closed"
        raise OSError(message)

    with pytest.raises(StoreError, match="a table cannot be read or written: found 'connection closed'"):
        retry_commits(attempt, "a table")
    assert len(tried) == 6


def test_store_that_knows_no_conditional_writes_is_named(bucket: str, object_store: dict[str, str]) -> None:
    with answer_amiss(object_store["AWS_ENDPOINT_URL"], "NotImplemented", "PUT") as url:
        blobs = BucketBlobs(f"s3://{bucket}/store", {**object_store, "AWS_ENDPOINT_URL": url})
        with pytest.raises(StoreError, match="found 'NotImplemented.*expected a store that takes conditional writes"):
            blobs.put_new("new", b"one")


def test_client_waits_for_no_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    client = open_client({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    assert client.meta.region_name == "us-east-1"
    client.close()
