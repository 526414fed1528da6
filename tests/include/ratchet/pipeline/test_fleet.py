"""A model for each shop: what is trained, what the gates keep pooled, what fails alone, and what moves."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from include.ratchet.errors import LedgerConflictError, RegistryUnavailableError
from include.ratchet.pipeline import fleet
from include.ratchet.pipeline import train as pipeline_train
from include.ratchet.pipeline.fleet import train as fleet_train
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.reproduce import reproduce
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.database import ledger as rows_of
from include.ratchet.registry.fleet import read_champions, read_newest
from include.ratchet.registry.versions import client_of, get_version, load_estimator, read_artifact
from include.ratchet.spec import ModelKey, segment_name
from include.ratchet.spec import loading as spec_loading
from tests.include.ratchet.pipeline.shops import (
    AS_OF,
    EMPTY,
    HOSTILE,
    LIKE,
    NAME,
    ONE_CLASS,
    OTHER,
    POOL,
    TINY,
    make_shops,
    write_sources,
)

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


def train(workspace: Workspace, training_id: str, as_of: datetime = AS_OF, **changes):
    request = TrainingRequest(POOL, training_id, as_of, trials=2, **changes)
    return run_model(workspace, workspace.model(NAME), request, lambda *_: None)


def outcomes(result):
    return {one.segment: one.outcome for one in result.fleet}


def key_of(shop: str) -> ModelKey:
    return ModelKey(NAME, segment_name([shop]))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    found = make_shops(tmp_path_factory.mktemp("fleet"))
    yield found
    engine_of(found.settings.database_url).dispose()


@pytest.fixture(scope="module")
def first(workspace):
    return train(workspace, "first")


def test_a_segment_gets_its_own_model_only_where_that_surely_beats_the_pool(workspace, first):
    assert first.promotion.is_promoted
    found = outcomes(first)
    assert found[OTHER] == "promoted"
    # Like the others, or with nothing to learn from: the gate keeps the pooled model.
    assert {found[shop] for shop in (LIKE, "south", segment_name([HOSTILE]), segment_name(["all"]))} == {"kept"}
    assert found[EMPTY] in ("kept", "refused")
    assert (found[TINY], found[ONE_CLASS]) == ("pooled", "pooled")
    assert read_champions(NAME, workspace.settings).keys() == {"all", OTHER}
    (web,) = (one for one in first.fleet if one.segment == OTHER)
    assert web.rival == "pooled model"
    assert web.gain[1] > 0.1
    (north,) = (one for one in first.fleet if one.segment == LIKE)
    assert north.gain[1] < 0 < 0.1
    (one_class,) = (one for one in first.fleet if one.segment == ONE_CLASS)
    assert "have label 0; expected at least two classes" in one_class.reason


def test_everything_is_kept_by_key(workspace, first):
    settings, key = workspace.settings, key_of(OTHER)
    kinds = [entry.kind for entry in ledger.history(key, settings)]
    assert kinds == ["segment", "verdict", "promotion"]
    version = get_version(key, 1, settings)
    assert version.lineage.key == key
    assert version.lineage.snapshot == first.version.lineage.snapshot
    assert client_of(settings).get_registered_model(key.slug).aliases == {"champion": 1}
    inputs = client_of(settings).get_run(version.run_id).inputs.dataset_inputs
    # The snapshot is one dataset of all; the rows that it is judged on are its own.
    assert {one.dataset.name for one in inputs} == {NAME, f"{key.slug}.test"}
    report = json.loads(read_artifact(version, "report.json", settings))
    assert report["pool"]["version"] == 1
    card = read_artifact(version, "card.md", settings).decode()
    assert card.startswith("# order_returns/web")
    assert "pooled model" in card
    (own,) = (one for one in first.fleet if one.segment == OTHER)
    assert f"| training rows | {own.rows} |" in card
    events = {entry.key.segment: entry.details["event"] for entry in read_newest(NAME, "segment", settings).values()}
    assert set(events.values()) == {"appeared"}
    assert len(events) == 8


def test_a_segments_version_loads_everywhere_and_is_made_again_to_the_bit(workspace, first, monkeypatch):
    import mlflow
    import numpy as np

    settings, version = workspace.settings, get_version(key_of(OTHER), 1, workspace.settings)
    estimator = load_estimator(workspace.model(NAME), version, settings)
    # MLflow leaves it in the environment, where the next test of this process would find it.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_url)
    loaded = mlflow.pyfunc.load_model(f"models:/{version.key.slug}@champion")
    example = json.loads(read_artifact(version, "example.json", settings))["features"]
    import pandas as pd

    rows = pd.DataFrame(example)
    assert np.array_equal(loaded.predict(rows), estimator.predict_proba(rows))
    assert reproduce(workspace, key_of(OTHER), 1).is_identical


def test_the_same_again_trains_nothing(workspace, first):
    again = train(workspace, "again")
    assert again.verdict is None
    assert {one.outcome for one in again.fleet if one.version} == {"unchanged"}
    assert len(ledger.history(key_of(OTHER), workspace.settings)) == 3


def test_a_batch_that_was_cut_off_does_only_what_is_missing(workspace, first, monkeypatch):
    settings, request = workspace.settings, TrainingRequest(POOL, "cut", AS_OF + timedelta(hours=1), trials=2)
    registered, before = [], fleet_train.judge.register

    def register(one, asked, registrar=None, fitted=None):
        if registrar is None:  # the pooled model's
            return before(one, asked)
        registered.append(asked.key.segment)
        version = before(one, asked, registrar, fitted)
        if len(registered) == 2:
            # Cut off between the registry and the ledger: the version is there, its verdict is not.
            with engine_of(settings.database_url).begin() as connection:
                gone = rows_of.c.idempotency_key == f"verdict:{asked.key.slug}:cut"
                connection.execute(rows_of.delete().where(gone))
            raise RegistryUnavailableError("cut off")
        return version

    monkeypatch.setattr(fleet_train.judge, "register", register)
    with pytest.raises(RegistryUnavailableError):
        run_model(workspace, workspace.model(NAME), request, lambda *_: None)
    monkeypatch.setattr(fleet_train.judge, "register", before)
    assert len(registered) == 2
    numbers = {shop: len(_versions(settings, ModelKey(NAME, shop))) for shop in registered}
    results = [one for number in range(len(fleet.read_plan(workspace, request).batches))
               for one in fleet.train_batch(workspace, request, number)]  # fmt: skip
    assert {one.outcome for one in results} <= {"promoted", "kept", "refused", "pooled"}
    # What was registered before stays the only version of this training.
    assert {shop: len(_versions(settings, ModelKey(NAME, shop))) for shop in registered} == numbers
    for one in results:
        names = [entry.idempotency_key for entry in ledger.history(ModelKey(NAME, one.segment), settings)]
        assert names.count(f"verdict:{ModelKey(NAME, one.segment).slug}:cut") == (one.version is not None)


def test_a_key_is_divided_and_loaded_once(workspace, first, monkeypatch):
    made = []

    def counted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (made.append(name), real(*args))[1])

    for module, name in ((pipeline_train, "split_rows"), (pipeline_train, "features_frame"),
                         (fleet_train.judge, "load_model"), (spec_loading, "load_model")):  # fmt: skip
        counted(module, name)
    request = TrainingRequest(POOL, "once", AS_OF + timedelta(hours=5), trials=2, segments=(OTHER, LIKE))
    pipeline_train.take_snapshot(workspace, request)
    pipeline_train.validate(workspace, request)
    fleet.plan_fleet(workspace, request, workers=1)
    made.clear()
    results = fleet.train_batch(workspace, request, 0)
    assert {one.segment for one in results} == {OTHER, LIKE}
    # The frame of all rows and that of the test rows; the estimator as its bytes load, and the batch's spec.
    assert Counter(made) == {"split_rows": 2, "features_frame": 4, "load_model": 2 + 1}


def test_a_backfill_moves_nothing(workspace, first):
    before = read_champions(NAME, workspace.settings)
    result = train(workspace, "backfill", as_of=AS_OF - timedelta(days=5), is_backfill=True)
    assert set(outcomes(result).values()) <= {"kept", "refused", "pooled"}
    assert read_champions(NAME, workspace.settings) == before


def test_only_the_segments_that_are_asked_for(workspace, first):
    result = train(workspace, "asked", as_of=AS_OF + timedelta(hours=2), segments=(OTHER,))
    assert (result.version, [one.segment for one in result.fleet]) == (None, [OTHER])


def test_request_is_answered_by_the_segment_that_it_names(workspace, first):
    key, when = key_of(OTHER), AS_OF + timedelta(hours=3)
    window = [(AS_OF - timedelta(days=9)).isoformat(), AS_OF.isoformat()]
    asked = ledger.Entry(
        key, "request", "request:web", "a monitor", "drift", when, as_of=when, details={"window": window}
    )
    ledger.record(asked, workspace.settings)
    train(workspace, "answer", as_of=when, segments=(OTHER,), segment_answers=("request:web",))
    assert ledger.pending_requests(key, workspace.settings) == ()
    newest = read_newest(NAME, "verdict", workspace.settings)[OTHER]
    assert newest.details["answers"] == ["request:web"]
    assert "wins on its window" in {gate["name"] for gate in newest.details["gates"]}


def test_request_for_a_segment_with_too_few_rows_is_answered_by_that(workspace, first):
    key, when = key_of(TINY), AS_OF + timedelta(hours=4)
    asked = [ledger.Entry(one, "request", f"request:{one}", "Ada", "by hand", when, as_of=when)
             for one in (key, key_of("never seen"))]  # fmt: skip
    for entry in asked:
        ledger.record(entry, workspace.settings)
    names = tuple(entry.idempotency_key for entry in asked)
    segments = tuple(entry.key.segment for entry in asked)
    result = train(workspace, "few", as_of=when, segments=segments, segment_answers=names)
    assert outcomes(result) == dict.fromkeys(segments, "pooled")
    for entry in asked:
        assert ledger.pending_requests(entry.key, workspace.settings) == ()
    assert "fewer rows" in ledger.history(key, workspace.settings)[-1].reason


def test_a_segment_that_cannot_be_trained_fails_alone(tmp_path):
    workspace = make_shops(tmp_path, shares={LIKE: 1, OTHER: 1, "south": 1})
    folder = workspace.settings.models_dir / NAME
    code = (folder / "estimator.py").read_text()
    broken = code.replace("return make_pipeline(", "return make_pipeline(FunctionTransformer(check), ")
    broken += """

from sklearn.preprocessing import FunctionTransformer


def check(features):
    if len(features) > 100 and set(features["shop"]) == {"web"}:
        raise RuntimeError("this shop breaks it")
    return features
"""
    (folder / "estimator.py").write_text(broken)
    spec = folder / "model.yaml"
    spec.write_text(spec.read_text().replace("training:\n", "training:\n  format: {allow: [cloudpickle]}\n"))
    result = train(workspace, "first")
    (failed,) = (one for one in result.fleet if one.outcome == "failed")
    assert failed.segment == OTHER
    assert "this shop breaks it" in failed.reason
    assert [entry.kind for entry in ledger.history(key_of(OTHER), workspace.settings)] == ["segment", "failure"]
    assert {one.outcome for one in result.fleet} == {"failed", "kept"}
    engine_of(workspace.settings.database_url).dispose()


def test_shops_come_and_go(tmp_path):
    workspace = make_shops(tmp_path, shares={LIKE: 4, OTHER: 1}, segments=", retire_after: 20d")
    settings = workspace.settings
    assert outcomes(train(workspace, "one"))[OTHER] == "promoted"
    later = AS_OF + timedelta(days=30)
    write_sources(settings.models_dir / NAME, shares={LIKE: 4, OTHER: 1, "new": 1}, until={OTHER: "2026-03-02"})
    result = train(workspace, "two", as_of=later)
    assert outcomes(result)[OTHER] == "retired"
    assert read_champions(NAME, settings).keys() == {"all"}
    assert client_of(settings).get_registered_model(key_of(OTHER).slug).aliases == {}
    told = {one: [entry.reason for entry in ledger.history(key_of(one), settings) if entry.kind == "segment"]
            for one in (OTHER, "new")}  # fmt: skip
    assert [words.partition(":")[0] for words in told[OTHER]] == ["appeared", "retired"]
    assert [words.partition(":")[0] for words in told["new"]] == ["appeared"]
    assert outcomes(train(workspace, "three", as_of=later + timedelta(hours=1)))[OTHER] == "retired"
    write_sources(settings.models_dir / NAME, shares={LIKE: 4, OTHER: 1})
    result = train(workspace, "four", as_of=later + timedelta(days=20))
    assert outcomes(result)[OTHER] == "promoted"
    newest = read_newest(NAME, "segment", settings)[OTHER]
    assert newest.details["event"] == "returned"
    engine_of(settings.database_url).dispose()


def test_a_segment_goes_back_to_a_pool_that_is_surely_better(tmp_path):
    # The shop becomes like the others: what its own model learnt is wrong, and few days say so.
    workspace = make_shops(
        tmp_path, shares={LIKE: 1, OTHER: 1}, turned={OTHER: "2026-03-01"}, gates=", margin: 0.001"
    )  # fmt: skip
    settings, key = workspace.settings, key_of(OTHER)
    assert outcomes(train(workspace, "one"))[OTHER] == "promoted"
    spec = settings.models_dir / NAME / "model.yaml"
    spec.write_text(spec.read_text().replace("length: 60d", "length: 180d"))
    found = [outcomes(train(workspace, f"day {day}", as_of=AS_OF + timedelta(days=day)))[OTHER] for day in (11, 13)]
    assert "returned" in found
    assert OTHER not in read_champions(NAME, settings)
    (entry,) = (one for one in ledger.history(key, settings) if one.details.get("event") == "pooled")
    assert "better on its rows" in entry.reason
    engine_of(settings.database_url).dispose()


def test_all_move_together_or_none(tmp_path):
    workspace = make_shops(tmp_path, shares={LIKE: 4, OTHER: 1}, segments=", together: true")
    settings = workspace.settings
    first = train(workspace, "one")
    assert outcomes(first)[OTHER] == "promoted"
    rows = [
        entry for key in (POOL, key_of(OTHER)) for entry in ledger.history(key, settings) if entry.kind == "promotion"
    ]
    assert len(rows) == 2
    # A segment that fails keeps all where they are.
    results = [*first.fleet[1:], replace(first.fleet[1], outcome="failed", reason="broken")]
    results = [replace(one, outcome="waiting") if one.segment == OTHER else one for one in results]
    kept = fleet.promote_together(workspace, TrainingRequest(POOL, "one", AS_OF), results, "Ada")
    assert {one.outcome for one in kept if one.segment in ("all", OTHER)} == {"kept"}
    assert "1 cannot move" in kept[0].reason
    # In the way of one of them stands a champion that came in between; the pool stays as well.
    request = TrainingRequest(POOL, "two", AS_OF + timedelta(days=1), trials=2)
    before = fleet.promote_together
    moved = ledger.Entry(key_of(OTHER), "promotion", "by hand", "Ada", "by hand", AS_OF, version=9,
                         as_of=AS_OF + timedelta(hours=9))  # fmt: skip

    def interrupted(*args):
        ledger.move_champion(moved, 1, settings)
        return before(*args)

    fleet.promote_together = interrupted
    try:
        with pytest.raises(LedgerConflictError):
            run_model(workspace, workspace.model(NAME), request, lambda *_: None)
    finally:
        fleet.promote_together = before
    champions = read_champions(NAME, settings)
    assert (champions["all"].version, champions[OTHER].version) == (1, 9)
    engine_of(settings.database_url).dispose()


def test_without_a_pool_every_segment_stands_alone(tmp_path):
    workspace = make_shops(tmp_path, shares={LIKE: 1, OTHER: 1, TINY: 0.05}, segments=", pool: false")
    result = train(workspace, "one")
    assert result.version is None
    assert outcomes(result) == {LIKE: "promoted", OTHER: "promoted", TINY: "pooled"}
    assert read_champions(NAME, workspace.settings).keys() == {LIKE, OTHER}
    engine_of(workspace.settings.database_url).dispose()


def test_two_overlapping_runs_end_with_the_newer_champion(tmp_path):
    """Both judge against no champion; the slower one finds that another came in between and says so."""
    workspace = make_shops(tmp_path, shares={LIKE: 1, OTHER: 1})
    settings, model = workspace.settings, workspace.model(NAME)
    requests = [TrainingRequest(POOL, name, AS_OF + timedelta(hours=hours), trials=2)
                for name, hours in (("one", 0), ("two", 1))]  # fmt: skip
    run_model(workspace, model, replace(requests[0], segments=("all",)), lambda *_: None)
    before = fleet_train.settle

    def late(one, asked, verdict):
        fleet_train.settle = before
        run_model(workspace, model, replace(requests[1], segments=(OTHER,)), lambda *_: None)
        return before(one, asked, verdict)

    fleet_train.settle = late
    try:
        result = run_model(
            workspace, model, replace(requests[0], training_id="three", segments=(OTHER,)), lambda *_: None
        )
    finally:
        fleet_train.settle = before
    assert outcomes(result) == {OTHER: "kept"}
    history = ledger.history(key_of(OTHER), settings)
    assert [entry.kind for entry in history if entry.kind in ("promotion", "conflict")] == ["promotion", "conflict"]
    assert ledger.read_aliases(key_of(OTHER), settings)["champion"].as_of == requests[1].as_of
    engine_of(settings.database_url).dispose()


def _versions(settings, key: ModelKey):
    return client_of(settings).search_model_versions(f"name = '{key.slug}'")
