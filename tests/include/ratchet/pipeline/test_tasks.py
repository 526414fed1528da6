"""A multiclass and a regression model through the whole life, not only a binary one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.reproduce import reproduce
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.versions import read_artifact
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

KEY = ModelKey("orders")
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")

INVENTED = '"is_returned": generator.random(size) < risk'
# `lost` happens only before the test rows begin, so that train and test do not know the same classes.
FATE = (
    '"fate": np.where(risk > 0.5, "returned", np.where((price > 40) & (partition.key < "2026-02-01"), "lost", "kept"))'
)
VALUE = "CASE WHEN NOT decision THEN 0 WHEN is_returned THEN 0.3 * price ELSE -2 END"
CHANGES = {
    "multiclass": {
        "model.yaml": {
            VALUE: "CAST(decision = fate AS INT)", "task: binary": "task: multiclass", "is_returned": "fate",
            "type: boolean": "type: string",
            "{metric: roc_auc}": "{metrics: [accuracy, f1_macro, ece], slices: [shop]}",
        },
        "sources.py": {INVENTED: FATE},
        "features.py": {'over="7d").mean("is_returned")': 'over="7d").count()'},
    },
    "regression": {
        "model.yaml": {
            VALUE: "abs(score - days_kept)\n    lower_is_better: true",
            "task: binary": "task: regression", "is_returned": "days_kept", "type: boolean": "type: float",
            "{metric: roc_auc}": "{metrics: [mae, r2], slices: [shop]}", "C: {float": "alpha: {float",
        },
        "sources.py": {INVENTED: '"days_kept": 10 * risk + generator.random(size)'},
        "features.py": {"is_returned": "days_kept"},
        "estimator.py": {"LogisticRegression(": "Ridge(", "import LogisticRegression": "import Ridge"},
    },
}  # fmt: skip


def make_workspace(folder, task):
    model = make_model(folder / "models", KEY.model)
    for file, pairs in CHANGES[task].items():
        text = (model / file).read_text()
        for old, new in pairs.items():
            assert old in text
            text = text.replace(old, new)
        (model / file).write_text(text)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    return Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))


@pytest.mark.parametrize("task", CHANGES)
def test_life_of_a_task(tmp_path, task):
    workspace = make_workspace(tmp_path, task)
    request = TrainingRequest(KEY, "first", datetime(2026, 3, 1, tzinfo=UTC), trials=3)
    result = run_model(workspace, workspace.model(KEY.model), request, lambda *_: None)
    assert result.verdict is not None
    assert result.version is not None
    metrics = result.version.metrics
    if task == "multiclass":
        # A class that the test rows lack cannot be judged.
        assert result.verdict.outcome == "hold"
        assert [gate.name for gate in result.verdict.failed] == ["minimum sample"]
        assert metrics["accuracy"] > 0.8
    else:
        assert result.verdict.outcome == "promote", result.verdict.table()
        assert metrics["r2"] > 0.8
    report = json.loads(read_artifact(result.version, "report.json", workspace.settings))
    assert {part["name"] for part in report["slices"]} == {"shop = north", "shop = south", "shop = web"}
    # What a prediction is worth is written so that it is a metric as well.
    twin = report["metrics"]["accuracy" if task == "multiclass" else "mae"]
    assert report["business"]["mean"] == pytest.approx(twin)
    assert report["business"]["rows"] == report["rows"]
    assert "in EUR a prediction" in read_artifact(result.version, "card.md", workspace.settings).decode()
    found = reproduce(workspace, KEY, 1)
    assert found.is_identical, found
    engine_of(workspace.settings.database_url).dispose()
