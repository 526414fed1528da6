"""The report of what a training depends on: kept with the version, on its card, behind its gates, by command."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from include.ratchet.cli.__main__ import app
from include.ratchet.data.tables import Table
from include.ratchet.dependencies.report import DependencyReport, compare_schemas
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.pipeline.dependencies import find_version, read_necessity, read_report
from include.ratchet.pipeline.feedback import read_feedback
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.versions import get_version, read_artifact
from include.ratchet.spec import ModelKey
from tests.include.ratchet.replay.lived import AS_OF, KEY, NAME, live, read_orders, record, replace_day

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py
SPEC = """
dependencies: {costs: {order_returns.shop: 12.5 EUR a month}, max_rows: 5000}
serving: {holdout: {share: 0.3}}
"""
GATES = "gates: {dependencies: {no_semantic_change: true, max_late_share: 0.5, max_broken_share: 0.1}}\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    lived = live(tmp_path_factory.mktemp("lived"), SPEC)
    yield lived
    engine_of(lived.settings.database_url).dispose()


def train(workspace, name, **more):
    request = TrainingRequest(KEY, name, AS_OF, trials=2, force=True, **more)
    return run_model(workspace, workspace.model(NAME), request, lambda *_: None)


def test_report_of_a_quiet_history_is_kept_and_on_the_card(workspace):
    version = get_version(KEY, 1, workspace.settings)
    report = read_report(version, workspace.settings)
    assert report.as_of == AS_OF
    (source,) = report.sources
    assert (source.table, source.partitions, source.missing.count, source.broken.count) == (NAME, 60, 0, 0)
    # The whole history was landed in one go, long after: nothing says what was late.
    assert source.late.of <= 30
    assert report.changes == ()
    assert report.unused.columns == ()
    assert (report.necessity, report.feedback) == (None, None)
    card = read_artifact(version, "card.md", workspace.settings).decode()
    assert "## Data dependencies" in card
    assert "No column changed its meaning." in card
    assert DependencyReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_necessity_names_costs_and_keeps_what_matters(workspace):
    model = workspace.model(NAME)
    version = find_version(workspace, KEY, None)
    seen = []
    needs = read_necessity(workspace, model, version, read_report(version, workspace.settings),
                           lambda *step: seen.append(step))  # fmt: skip
    groups = {need.features: need for need in needs.needs}
    assert ("price",) in groups
    price = groups["price",]
    assert price.lost.low > 0.02
    assert not price.could_go
    assert price.frees == ()  # what an order is worth reads it too
    assert seen[-1][0] == seen[-1][1] == len(groups)
    again = read_necessity(workspace, model, version, read_report(version, workspace.settings))
    assert again == needs


def test_feedback_of_replayed_records_is_told(workspace):
    model = workspace.model(NAME)
    for day in ("2026-02-10", "2026-02-11", "2026-02-12"):
        orders = read_orders(workspace, day, 200)
        places = iter(range(10_000))

        def hold(row, places=places):
            row["route"] = "holdout" if next(places) % 3 == 0 else "champion"
            row["holdout"] = 1 / 3

        record(workspace, orders, f"held-{day}", change=hold)
    found = read_feedback(workspace.settings, model, KEY, AS_OF)
    assert found.rows == 600
    assert found.held_rows == 201
    # Nobody acted on any of them.
    assert found.effect.low < 0 < found.effect.high


def test_command_shows_the_report(workspace, monkeypatch):
    monkeypatch.setenv("RATCHET_HOME", str(workspace.settings.home))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(workspace.settings.models_dir))
    runner = CliRunner()
    shown = runner.invoke(app, ["dependencies", NAME, "--necessity", "--feedback", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert told["key"] == NAME
    assert told["sources"][0]["table"] == NAME
    assert told["necessity"]["metric"] == "roc_auc"
    assert told["feedback"]["held_rows"] == 201
    shown = runner.invoke(app, ["dependencies", NAME, "--version", "1"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output


def test_unknown_version_and_untrained_model_are_said(workspace):
    with pytest.raises(VersionNotFoundError):
        find_version(workspace, KEY, 99)
    with pytest.raises(VersionNotFoundError, match="no version has been trained"):
        find_version(workspace, ModelKey("nobody"), None)


def test_planted_change_is_found_and_its_gate_refuses_until_it_is_accepted(workspace):
    table = Table(workspace.settings, NAME, NAME)
    days = sorted(table.row_counts())
    for day in days[40:]:
        rows = table.read([day])
        price = pa.array(np.asarray(rows["price"]) * 100)
        replace_day(workspace, day, rows.set_column(rows.column_names.index("price"), "price", price))
    path = workspace.model(NAME).folder / "model.yaml"
    path.write_text(path.read_text() + GATES)
    result = train(workspace, "changed")
    name = f"{NAME}.price@{days[40]}"
    gate = next(one for one in result.verdict.gates if one.name == "columns mean what they did")
    assert (gate.passed, gate.found) == (False, name)
    assert result.verdict.outcome == "reject"
    (change,) = read_report(result.version, workspace.settings).changes
    assert (change.kind, change.is_read) == ("scaled", True)
    assert "10 to the power of 2" in change.detail
    path.write_text(
        path.read_text().replace("no_semantic_change: true", f"no_semantic_change: true, accepted: ['{name}']")
    )
    result = train(workspace, "accepted")
    gate = next(one for one in result.verdict.gates if one.name == "columns mean what they did")
    assert gate.passed
    assert next(one for one in result.verdict.gates if one.name == "sources in time").passed


def test_schemas_are_compared_in_words():
    before = (("a", "int64"), ("b", "string"), ("c", "double"))
    assert compare_schemas(None, before) == ()
    assert compare_schemas(before, before) == ()
    assert compare_schemas(before, (("a", "double"), ("c", "double"), ("d", "bool"))) == (
        "b (string) is no longer there", "d (bool) is new", "a was int64, is double",
    )  # fmt: skip
