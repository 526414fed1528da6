"""A person goes: out of all that an installation holds, whatever is compressed, and does not come back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.ratchet.data.annotations import Annotation, AnnotationTable
from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.records import RecordTable, record_keys, to_table
from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.data.tables import Table
from include.ratchet.erasure import erase
from include.ratchet.erasure.erase import erase_subject
from include.ratchet.erasure.search import Words
from include.ratchet.errors import SpecError
from include.ratchet.monitoring import monitor
from include.ratchet.monitoring.reference import read_reference
from include.ratchet.pipeline import ingest
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.online import materialise
from include.ratchet.pipeline.reproduce import reproduce
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.versions import get_version, read_artifact
from include.ratchet.scoring import score_partitions
from include.ratchet.serving.histories import open_store
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.serving.shipping import ship
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.labels import ANNOTATIONS
from include.ratchet.spec.scaffold import make_model

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")

KEY = ModelKey("orders")
PERSON, OTHER = "customer-0007", "customer-0008"
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
DAY = "2026-03-01"
SOURCES = """
from datetime import timedelta

import numpy as np
import pandas as pd


def orders(partition, as_of):
    generator = np.random.default_rng(int(partition.start.timestamp()))
    size = 120
    price = generator.lognormal(3, 0.6, size).round(2)
    shop = generator.choice(["north", "south", "web"], size)
    customer = generator.integers(0, 20, size)
    who = [f"customer-{number:04d}" for number in customer]
    price[np.flatnonzero(customer == 7)[:1]] = -1 if partition.key == "2026-02-03" else 7
    return pd.DataFrame({
        # The number of an order is the customer's, so that their keys are theirs alone.
        "order_id": [f"order-{partition.key}-{number:03d}-of-{person[-4:]}" for number, person in enumerate(who)],
        "ordered_at": [partition.start + timedelta(minutes=12 * number) for number in range(size)],
        "customer": who, "shop": shop, "price": price,
        "is_returned": generator.random(size) < 1 / (1 + np.exp(2.5 - 0.05 * price)),
    })
"""


def make_workspace(folder, database=None, more=""):
    path = make_model(folder / "models", KEY.model)
    (path / "sources.py").write_text(SOURCES)
    spec = (path / "model.yaml").read_text()
    spec = spec.replace("  shop: {type", "  customer: {type: string, nullable: false}\n  shop: {type")
    (path / "model.yaml").write_text(f"{spec}\nprivacy: {{subject: customer}}\n{more}")
    settings = read_settings({
        "RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models"),
        **({"RATCHET_DATABASE_URL": database} if database else {}),
    })  # fmt: skip
    settings.home.mkdir()
    upgrade(settings.database_url)
    return Workspace(settings, MappedConnections({}), lambda: datetime(2026, 4, 1, tzinfo=UTC))


def record(number, person, at):
    return {
        "request_id": f"request-{number}", "row": 0, "model": KEY.model, "segment": "", "received_at": at,
        "key": json.dumps([f"order-asked-{number:04d}"]), "event_time": at, "prediction_time": at, "answered_at": at,
        "version": 1, "route": "champion", "mode": "direct", "score": 0.4, "latency_ms": 3.0,
        "payload": json.dumps({"customer": person, "shop": "web", "price": 5.0}), "feature_price": 5.0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    """A model that was trained, scored, served and watched, of which a person wants to be forgotten."""
    folder = tmp_path_factory.mktemp("erased")
    workspace = make_workspace(folder)
    model, settings = workspace.model(KEY.model), workspace.settings
    run_model(workspace, model, TrainingRequest(KEY, "first", AS_OF, trials=1), lambda *_: None)
    ingest.land_partitions(workspace, model, [DAY], "a test")
    score_partitions(workspace, KEY, [DAY])
    requests = RecordTable(settings, model, "requests")
    at = AS_OF + timedelta(hours=3)
    requests.append([record(number, PERSON if number % 4 == 0 else OTHER, at) for number in range(40)], "log", 40)
    feedback = [
        {"feedback_id": f"f{number}", "request_id": f"request-{number}", "row": 0, "kind": "label", "value": "true",
         "available_time": at, "received_at": at} for number in range(8)
    ]  # fmt: skip
    RecordTable(settings, model, "feedback").append(feedback, "log", 8)
    first = Table(settings, KEY.model, KEY.model).read([DAY])
    said = [Annotation(record_keys(model.spec, first)[row].as_py(), "Eve", at, True)
            for row in range(first.num_rows)]  # fmt: skip
    AnnotationTable(settings, KEY.model).add(said, at)
    materialise(workspace, model, AS_OF)
    monitor.profile(workspace, KEY.model, ["all"], DAY, AS_OF + timedelta(days=1))
    open_blobs(settings).put("alerts/one.json", json.dumps({"words": f"unseen: {PERSON}"}).encode())
    open_blobs(settings).put("validation/others/table/x/y/results.json", PERSON.encode())
    yield SimpleNamespace(workspace=workspace, settings=settings, model=model, folder=folder,
                          before=holding(settings.home, [PERSON, "of-0007"]))  # fmt: skip
    engine_of(settings.database_url).dispose()


def holding(home, words):
    """Files that quote some words, read as what they are: this is the test's own reader, not the engine's."""
    found = []
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content += b"".join(arrays[name].tobytes() for name in arrays.files)
        elif path.name == "ratchet.db":
            with closing(sqlite3.connect(path)) as database:
                for (blob,) in database.execute("SELECT rows FROM histories"):
                    content += json.dumps(pa.ipc.open_stream(blob).read_all().to_pylist(), default=str).encode()
        if any(word.encode() in content for word in words):
            found.append(str(path.relative_to(home)))
    return found


@pytest.fixture(scope="module")
def certificate(living):
    return erase_subject(living.workspace, living.model, PERSON, actor="Ada", reason="request 17", retrain=True)


def test_person_was_everywhere_and_is_nowhere(living, certificate):
    folders = {path.split("/")[1] for path in living.before if path.startswith("store/")}
    assert {"tables", "snapshots", "requests", "scores", "alerts"} <= folders
    assert any("quarantine" in path for path in living.before)
    # What another model holds is not this model's to change.
    assert holding(living.settings.home, [PERSON, "of-0007"]) == ["store/validation/others/table/x/y/results.json"]
    assert len(holding(living.settings.home, [OTHER, "of-0008"])) > 20


def test_certificate_says_what_was_done_without_naming_anybody(living, certificate):
    assert certificate.tables["orders"] > 300
    assert certificate.tables["orders__quarantine"] == 1
    assert certificate.tables["requests"] == 10
    assert certificate.tables["feedback"] == 2
    assert certificate.tables[ANNOTATIONS] == certificate.tables["scores"]
    assert certificate.tables["scores"] > 0
    assert certificate.trained == ("orders@1",)
    assert sum(certificate.snapshots.values()) > 200
    assert "alerts/one.json" in certificate.files
    assert certificate.left == ()
    assert certificate.searched
    assert "orders@1 had learned from them and cannot be made again to the bit" in certificate.promise
    (entry,) = [row for row in ledger.history(KEY, living.settings) if row.kind == "erasure"]
    assert (entry.actor, entry.reason) == ("Ada", "request 17")
    assert entry.details == json.loads(json.dumps(certificate.to_dict()))
    assert PERSON not in json.dumps(certificate.to_dict())
    (asked,) = ledger.pending_requests(KEY, living.settings)
    assert asked.idempotency_key == certificate.retraining
    assert asked.version == 1


def test_everybody_else_stays(living, certificate):
    rows = Table(living.settings, KEY.model, KEY.model).read()
    assert rows.num_rows + certificate.tables["orders"] + 1 == 120 * len(rows["_partition"].unique())
    assert pc.sum(pc.equal(rows["customer"], OTHER)).as_py() > 300
    assert RecordTable(living.settings, living.model, "requests").read().num_rows == 30
    assert quarantine_table(living.settings, KEY.model, KEY.model).read().num_rows == 0


def test_version_answers_and_is_watched_as_before(living, certificate):
    version = get_version(KEY, 1, living.settings)
    snapshot = load_snapshot(KEY, version.lineage.snapshot, living.settings)
    assert snapshot.erased_rows == certificate.snapshots[snapshot.id]
    assert snapshot.read().num_rows == snapshot.rows
    reference = read_reference(living.settings, living.model, KEY, 1)
    assert np.isfinite(reference.numbers["metric"]).any()
    example = json.loads(read_artifact(version, "example.json", living.settings))
    assert len(example["scores"]) == 5
    store = open_store(living.settings)
    assert store.read(KEY)[0].rows


def test_reproduce_says_what_is_gone(living, certificate):
    found = reproduce(living.workspace, KEY, 1)
    assert not found.is_identical
    told = "\n".join(found.differences)
    assert "table orders: version" in told
    assert "went when a person was erased" in told
    assert "data: the snapshot now has" in told


def test_nothing_comes_back_from_the_source_or_a_late_log(living, certificate, tmp_path):
    ingest.land_partitions(living.workspace, living.model, [DAY, "2026-02-03", "2026-03-02"], "again")
    log = RecordLog(tmp_path / "log")
    at = AS_OF + timedelta(hours=5)
    rows = [record(100, PERSON, at), record(101, OTHER, at)]
    log.submit(Batch(KEY.model, "requests", to_table(living.model.spec, "requests", rows))).result(10)
    ship(log, living.settings)
    log.close()
    there = RecordTable(living.settings, living.model, "requests").read()["request_id"].to_pylist()
    assert "request-101" in there
    assert "request-100" not in there
    assert holding(living.settings.home, [PERSON, "of-0007"]) == ["store/validation/others/table/x/y/results.json"]


def test_second_run_finds_nothing_more(living, certificate):
    again = erase_subject(living.workspace, living.model, PERSON, actor="Ada", reason="request 17, again")
    assert (again.rows, again.snapshots, again.trained, again.digest) == (0, {}, (), certificate.digest)
    assert "each can still be made again" in again.promise


def test_attempt_that_was_cut_off_is_made_good(tmp_path, monkeypatch, empty_database):
    """It dies when the training sets are done; the keys by which the rest is found are still there."""
    workspace = make_workspace(tmp_path, empty_database)
    model = workspace.model(KEY.model)
    run_model(workspace, model, TrainingRequest(KEY, "first", AS_OF, trials=1), lambda *_: None)
    materialise(workspace, model, AS_OF)
    before = open_store(workspace.settings).revisions()[KEY]

    with monkeypatch.context() as patched:
        patched.setattr(erase, "_purge_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase_subject(workspace, model, PERSON, actor="Ada", reason="request 17")
    assert holding(workspace.settings.home, [PERSON])
    found = erase_subject(workspace, model, PERSON, actor="Ada", reason="request 17")
    assert found.rows > 300
    assert holding(workspace.settings.home, [PERSON, "of-0007"]) == []
    assert open_store(workspace.settings).revisions()[KEY] > before
    engine_of(workspace.settings.database_url).dispose()


def test_person_goes_out_of_every_segment(tmp_path):
    """Shops with models of their own: their training sets, versions, looks, scores and records."""
    alone = "segments: {by: shop, min_rows: 100, pool: false}\ngates: {beats_baseline: -1.0, min_test_rows: 100}\n"
    workspace = make_workspace(tmp_path, more=alone)
    model, settings = workspace.model(KEY.model), workspace.settings
    trained = run_model(workspace, model, TrainingRequest(KEY, "first", AS_OF, trials=1), lambda *_: None)
    shops = {"north", "south", "web"}
    assert {one.segment: one.outcome for one in trained.fleet} == dict.fromkeys(shops, "promoted")
    ingest.land_partitions(workspace, model, [DAY], "a test")
    score_partitions(workspace, KEY, [DAY])
    at = AS_OF + timedelta(hours=3)
    asked = [{**record(number, PERSON if number % 4 == 0 else OTHER, at), "segment": "web"} for number in range(40)]
    RecordTable(settings, model, "requests").append(asked, "log", 40)
    materialise(workspace, model, AS_OF)
    monitor.profile(workspace, KEY.model, sorted(shops), DAY, AS_OF + timedelta(days=1))
    assert len(holding(settings.home, [PERSON, "of-0007"])) > 10
    found = erase_subject(workspace, model, PERSON, actor="Ada", reason="request 17", retrain=True)
    assert holding(settings.home, [PERSON, "of-0007"]) == []
    assert set(found.trained) == {f"orders.{shop}@1" for shop in shops}
    assert found.tables["requests"] == 10
    for shop in shops:
        key = ModelKey(KEY.model, shop)
        (asked,) = ledger.pending_requests(key, settings)
        assert asked.reason == "version 1 had learned from rows of a person who was erased"
        assert np.isfinite(read_reference(settings, model, key, 1).numbers["metric"]).any()
        assert not reproduce(workspace, key, 1).is_identical
    engine_of(settings.database_url).dispose()


def test_what_cannot_be_erased_is_explained(living):
    def ask(subject, reason="x", model=living.model):
        return erase_subject(living.workspace, model, subject, actor="Ada", reason=reason)

    with pytest.raises(ValueError, match="subject: found ''; expected a value of customer, of type string"):
        ask("")
    with pytest.raises(ValueError, match="reason: it names the person"):
        ask(OTHER, f"{OTHER} asked")
    nobody = living.model.model_copy(update={"spec": living.model.spec.model_copy(update={"privacy": None})})
    with pytest.raises(SpecError, match="privacy: found nothing; expected"):
        ask(OTHER, model=nobody)


@pytest.mark.parametrize(
    ("word", "content", "is_found"),
    [
        ("customer-7", b'{"who": "customer-7"}', True),
        ("customer-7", b'{"who": "customer-77"}', False),
        ("customer-7", b"my-customer-7", False),
        ("Ann Lee", b"<td>Ann Lee</td>", True),
        ("Ann Lee", b"Joann Lee", False),
        ("1234567", b'{"id": 1234567}', True),
        ("7", b'{"id": 7}', False),
    ],
)
def test_words_are_found_as_words(word, content, is_found):
    assert Words([word]).are_in(content) is is_found


def test_words_are_found_in_what_is_compressed(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": pa.array(["x", "customer-7"] * 50).dictionary_encode()}), path, compression="zstd")
    assert Words(["customer-7"]).are_in(path.read_bytes())
    np.savez_compressed(tmp_path / "x.npz", head=np.frombuffer(b'{"a": "customer-7"}', np.uint8))
    assert Words(["customer-7"]).are_in((tmp_path / "x.npz").read_bytes())
    assert not Words(["customer-8"]).are_in(path.read_bytes())
