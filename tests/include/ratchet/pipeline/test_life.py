"""A model's whole life in this process: the scaffold's model, without Airflow, on files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.data.tables import Table
from include.ratchet.errors import GateRefusedError, SpecError
from include.ratchet.pipeline import judge, local
from include.ratchet.pipeline.check import check_model
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.promote import promote, refuse
from include.ratchet.pipeline.reproduce import compare_environment, reproduce
from include.ratchet.pipeline.requests import TrainingRequest, read_instant
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.versions import client_of, get_version, load_estimator, read_artifact
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import revert
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, get_model
from include.ratchet.spec.scaffold import make_model

KEY = ModelKey("order_returns")
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    make_model(folder / "models", "order_returns")
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    yield Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))
    engine_of(settings.database_url).dispose()


def run(workspace, training_id, **changes):
    request = TrainingRequest(KEY, training_id, AS_OF, trials=3, **changes)
    seen = []
    result = run_model(workspace, workspace.model("order_returns"), request, lambda *step: seen.append(step))
    return result, seen


@pytest.fixture(scope="module")
def first(workspace):
    return run(workspace, "first", reason="the first one")


def test_scaffold_passes_check(workspace):
    check_model(workspace.model("order_returns"))


def test_first_run_ingests_trains_and_promotes(workspace, first):
    result, seen = first
    assert result.verdict.outcome == "promote"
    assert result.promotion.is_promoted
    assert result.version.number == 1
    assert 0.6 < result.version.metrics["roc_auc"] < 0.9
    assert ("ingest", 60, 60) in seen
    assert ("search", 3, 3) in seen
    counts = Table(workspace.settings, "order_returns", "order_returns").row_counts()
    assert set(counts.values()) == {200}
    assert len(counts) == 60


def test_version_carries_what_makes_it_reproducible(workspace, first):
    client = client_of(workspace.settings)
    version = client.get_model_version("order_returns", "1")
    lineage = first[0].version.lineage
    assert version.tags["ratchet.snapshot"] == lineage.snapshot
    assert json.loads(version.tags["ratchet.features"]) == ["shop", "price", "shop_return_rate_7d"]
    assert version.tags["ratchet.spec_hash"] == workspace.model("order_returns").spec.hash
    assert len(version.tags["ratchet.lock_hash"]) == 64
    assert version.tags["ratchet.as_of"] == AS_OF.isoformat()
    run_of = client.get_run(version.run_id)
    assert run_of.data.metrics["roc_auc_low"] < run_of.data.metrics["roc_auc"] < run_of.data.metrics["roc_auc_high"]
    paths = {file.path for file in client.list_artifacts(version.run_id)}
    assert {"card.md", "card.html", "report.json", "verdict.json", "plots", "model", "fitted"} <= paths
    assert client.get_registered_model("order_returns").aliases == {"champion": 1}


def test_its_run_shows_the_snapshot_and_the_test_rows_as_datasets(workspace, first):
    from mlflow.data import get_source
    from mlflow.types import Schema

    client = client_of(workspace.settings)
    version = first[0].version
    snapshot = load_snapshot(KEY, version.lineage.snapshot, workspace.settings)
    inputs = client.get_run(client.get_model_version("order_returns", "1").run_id).inputs.dataset_inputs
    found = {tag.value: one for one in inputs for tag in one.tags if tag.key == "mlflow.data.context"}
    assert set(found) == {"training", "evaluation"}
    report = json.loads(read_artifact(version, "report.json", workspace.settings))
    for context, name, rows in (
        ("training", "order_returns", snapshot.rows), ("evaluation", "order_returns.test", report["rows"]),
    ):  # fmt: skip
        dataset = found[context].dataset
        assert (dataset.name, dataset.digest) == (name, snapshot.id[:36])
        assert {tag.key: tag.value for tag in found[context].tags}["ratchet.snapshot"] == snapshot.id
        profile = json.loads(dataset.profile)
        assert profile == {"num_rows": rows, "num_elements": rows * len(snapshot.columns)}
        columns = json.loads(dataset.schema)["mlflow_colspec"]
        schema = Schema.from_json(json.dumps(columns))
        assert schema.input_names() == [column for column, _ in snapshot.columns]
        assert {"price": "double", "is_returned": "boolean"}.items() <= {
            column.name: column.type.name for column in schema.inputs
        }.items()
    # MLflow's own way from a dataset to its file, and the file's own rows.
    path = get_source(found["training"].dataset).load()
    assert pq.read_table(path).num_rows == snapshot.rows
    assert report["rows"] < snapshot.rows


def test_registered_model_predicts_what_was_judged_also_through_mlflow(workspace, first):
    import io

    import mlflow
    import numpy as np

    version = first[0].version
    estimator = load_estimator(workspace.model("order_returns"), version, workspace.settings)
    model = mlflow.pyfunc.load_model(f"{client_of(workspace.settings).get_run(version.run_id).info.artifact_uri}/model")
    example = model.input_example
    assert np.array_equal(model.predict(example), estimator.predict_proba(example))
    recorded = np.load(io.BytesIO(read_artifact(version, "test_scores.npy", workspace.settings)))
    assert np.allclose(recorded[:5], estimator.predict_proba(example)[:, 1])


def test_same_again_trains_nothing_unless_forced(workspace, first):
    result, _ = run(workspace, "again")
    assert (result.version.number, result.verdict) == (1, None)
    result, _ = run(workspace, "forced", force=True)
    assert result.version.number == 2
    assert result.version.metrics == first[0].version.metrics
    assert result.promotion.is_promoted


def test_steps_run_again_give_the_same_and_record_it_once(workspace, first):
    request = TrainingRequest(KEY, "first", AS_OF, trials=3, reason="the first one")
    before = ledger.history(KEY, workspace.settings)
    judge.fit(workspace, request)
    assert judge.register(workspace, request).number == 1
    promote(workspace, request)
    assert ledger.history(KEY, workspace.settings) == before


def test_older_version_is_scored_and_held(workspace, first):
    old = TrainingRequest(KEY, "older", AS_OF - timedelta(days=10), trials=2)
    result = run_model(workspace, workspace.model("order_returns"), old, lambda *_: None)
    assert result.verdict.outcome == "hold"
    assert [gate.name for gate in result.verdict.failed] == ["may move production"]
    assert not result.promotion.is_promoted
    assert result.version.outcome == "hold"


def test_reproduction_is_identical_to_the_bit(workspace, first):
    found = reproduce(workspace, KEY, 1)
    assert found.is_identical, found
    assert found.differences == ()
    assert found.rows > 1000
    assert found.largest_difference == 0


def test_reproduction_names_what_differs(workspace, first):
    folder = workspace.model("order_returns").folder
    estimator = folder / "estimator.py"
    text = estimator.read_text()
    estimator.write_text(text.replace("LogisticRegression(random_state", "LogisticRegression(tol=0.5, random_state"))
    try:
        found = reproduce(workspace, KEY, 1)
    finally:
        estimator.write_text(text)
    assert not found.is_identical
    assert any(difference.startswith("code: ") for difference in found.differences)
    assert any(difference.startswith("predictions: ") for difference in found.differences)


def test_reproduction_names_other_kernels(workspace, first):
    model, made = workspace.model("order_returns"), get_version(KEY, 1, workspace.settings).lineage
    assert made.kernels.startswith("openblas ")
    assert compare_environment(made, model) == ()
    (said,) = compare_environment(replace(made, kernels="openblas Nehalem"), model)
    assert said == f"kernels: {made.kernels}, recorded openblas Nehalem"
    older = {name: value for name, value in made.to_dict().items() if name != "kernels"}
    assert compare_environment(Lineage.from_dict(older), model) == ()


def test_refused_candidate_is_registered_and_moves_nothing(workspace, first):
    folder = workspace.model("order_returns").folder
    spec = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(spec + "gates: {min_metric: 0.99}\n")
    before = ledger.read_aliases(KEY, workspace.settings)
    try:
        result, _ = run(workspace, "refused", force=True)
        request = TrainingRequest(KEY, "refused", AS_OF, trials=3, force=True)
        with pytest.raises(GateRefusedError, match="minimum metric"):
            judge.decide(workspace, request)
    finally:
        (folder / "model.yaml").write_text(spec)
    assert result.verdict.outcome == "reject"
    assert not result.promotion.is_promoted
    assert ledger.read_aliases(KEY, workspace.settings) == before


def test_trainings_judged_against_the_same_champion_leave_one(workspace, first):
    """Both were judged before either was promoted: the second finds another champion and is told so."""
    later = AS_OF + timedelta(days=1)
    requests = [TrainingRequest(KEY, name, later, trials=2, force=True) for name in ("one", "two")]
    kept, local.promote = local.promote, lambda *_: None
    try:
        for request in requests:
            run_model(workspace, workspace.model("order_returns"), request, lambda *_: None)
    finally:
        local.promote = kept
    one, two = (promote(workspace, request) for request in requests)
    assert one.is_promoted
    assert not two.is_promoted
    assert "judged against champion" in two.reason
    assert ledger.history(KEY, workspace.settings)[-1].kind == "conflict"
    assert client_of(workspace.settings).get_registered_model("order_returns").aliases["champion"] == one.version


def test_refused_approval_is_recorded(workspace, first):
    request = TrainingRequest(KEY, "first", AS_OF, trials=3)
    found = refuse(workspace, request, actor="Ada", reason="promotion was not approved")
    entry = ledger.history(KEY, workspace.settings)[-1]
    assert (entry.kind, entry.actor, entry.version) == ("approval", "Ada", found.version)


def test_revert_goes_back_and_forth(workspace, first):
    found = revert(workspace.settings, KEY, Order("Ada", "complaints", workspace.clock()))
    before, after = found.before, found.after
    aliases = client_of(workspace.settings).get_registered_model("order_returns").aliases
    assert aliases == {"champion": after, "previous": before}
    assert ledger.history(KEY, workspace.settings)[-1].reason == "complaints"


def test_absence_of_data_is_said(workspace, first):
    sources = workspace.model("order_returns").folder / "sources.py"
    text = sources.read_text()
    sources.write_text(
        text.replace(
            "    generator =", "    if partition.key > '2026-03':\n        return pd.DataFrame()\n    generator ="
        )
    )
    try:
        request = TrainingRequest(KEY, "future", AS_OF + timedelta(days=90), trials=2)
        result = run_model(workspace, workspace.model("order_returns"), request, lambda *_: None)
    finally:
        sources.write_text(text)
    assert result.version is None
    assert "no data of order_returns between" in result.reason


def test_request_goes_through_json_unchanged():
    request = TrainingRequest(
        KEY, "t", AS_OF, timedelta(days=30), "grid", 5, True, "drift", "monitor", (AS_OF, AS_OF), True, ("request:1",)
    )
    assert TrainingRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-01-05", datetime(2013, 1, 5, 5, tzinfo=UTC)),
        ("2013-01-05T07:30", datetime(2013, 1, 5, 12, 30, tzinfo=UTC)),
        ("2013-01-05T07:30+00:00", datetime(2013, 1, 5, 7, 30, tzinfo=UTC)),
    ],
)
def test_instants_are_read_in_the_specs_time_zone(workspace, text, expected):
    spec = workspace.model("order_returns").spec.model_copy(update={"timezone": "America/New_York"})
    assert read_instant(spec, text) == expected
    with pytest.raises(ValueError, match="expected a date"):
        read_instant(spec, "last night")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("model.yaml", "python: orders", "python: oders", "did you mean 'orders'"),
        ("features.py", "order.price", "order.prize", "no column 'prize'"),
        ("estimator.py", "LogisticRegression(random_state", "LogisticRegression(random_sate", "candidate logistic"),
        ("model.yaml", "{metric: roc_auc}", "{slices: [shopp]}", "'shopp' of slices"),
        ("model.yaml", "0.3 * price", "0.3 * shop", "scope.business.value: found .* expected a number"),
    ],
)
def test_check_finds_what_does_not_fit(tmp_path, file, old, new, words):
    folder = make_model(tmp_path, "order_returns")
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    with pytest.raises((SpecError, ValueError), match=words):
        check_model(get_model(tmp_path, "order_returns"))


@pytest.mark.parametrize("name", ["Bad", "1st", "a b", "../x", ""])
def test_scaffold_refuses_what_cannot_be_a_name(tmp_path, name):
    with pytest.raises(SpecError, match="expected small letters"):
        make_model(tmp_path, name)


def test_scaffold_overwrites_nothing(tmp_path):
    make_model(tmp_path, "fine")
    with pytest.raises(SpecError, match="is there already"):
        make_model(tmp_path, "fine")
    assert replace(TrainingRequest(KEY, "a", AS_OF), training_id="b").study != TrainingRequest(KEY, "a", AS_OF).study
