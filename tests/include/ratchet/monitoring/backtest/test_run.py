"""What would have happened: policies replayed on a small history whose concept turns round, or does not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import land_many
from include.ratchet.errors import SpecError, TooFewRowsError
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.monitoring.backtest import work
from include.ratchet.monitoring.backtest.folds import open_folds
from include.ratchet.monitoring.backtest.history import choose_candidate, read_history
from include.ratchet.monitoring.backtest.looks import Looks
from include.ratchet.monitoring.backtest.policies import read_policy
from include.ratchet.monitoring.backtest.report import (
    draw,
    head_of,
    merge_section,
    recommend,
    render_section,
    store_report,
    tabulate,
    to_markdown,
    to_page,
)
from include.ratchet.monitoring.backtest.run import DEFAULT, BacktestRequest, run_backtest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, ModelSpec, partition_of, partitions_between
from include.ratchet.views.reports import read_reports

SPEC = """
name: {name}
owner: o
description: Orders that come back, foretold by one number.
task: binary
scope:
  problem: Orders come back, and each one that was foretold rightly is worth one.
  business: {{name: hits, unit: orders, value: CAST(decision = y AS INT)}}
source: {{python: orders}}
keys: [order_id]
event_time: at
label: {{column: y, delay: {delay}, lateness: 10d}}
columns:
  order_id: {{type: string, nullable: false}}
  at: {{type: timestamp, nullable: false}}
  x: {{type: float}}
  z: {{type: float}}
  y: {{type: boolean}}
training:
  window: {{length: {window}}}
  split: {{validation: {validation}, test: {test}}}
  candidates:
    needy: {{}}
    logistic: {{space: {{C: {{float: [0.01, 10], log: true}}}}}}
evaluation: {{metric: roc_auc}}
gates: {{versus_champion: superior, min_metric: 0.75, margin: 0.05}}
schedule: {{ingest: "5 1 * * *"}}
monitoring:
  min_rows: 50
  window: 3
  policy: {{streak: 2, cooldown: 2d, budget: 20, attempts: 20, quality: none}}
"""
FEATURES = """
from include.ratchet.features import Features, Tables


def features(t: Tables) -> Features:
    return Features(x=t.rows.x, z=t.rows.z)
"""
ESTIMATOR = """
def estimator(candidate, params, seed, threads):
    from sklearn.linear_model import LogisticRegression
    if candidate == "needy":
        return LogisticRegression(C=params["C"])
    return LogisticRegression(random_state=seed, **params)
"""
SOURCES = """
from datetime import timedelta

import numpy as np
import pandas as pd


def orders(partition, as_of):
    generator = np.random.default_rng(int(partition.start.timestamp()))
    size = 120
    x, z = generator.normal(size=size), generator.normal(size=size)
    slope = -2 if partition.key >= "{change}" else 2
    return pd.DataFrame({{
        "order_id": [f"{{partition.key}}-{{number:03d}}" for number in range(size)],
        "at": [partition.start + timedelta(minutes=10 * number) for number in range(size)],
        "x": x, "z": z, "y": generator.random(size) < 1 / (1 + np.exp(-slope * x)),
    }})
"""
FIRST, CHANGE, LAST = "2026-01-26", "2026-02-15", "2026-04-04"
PARTS = {"window": "20d", "validation": "1d", "test": "8d", "delay": "0m"}


def make_workspace(folder, name, *, change="2030-01-01", last=LAST, **parts):
    models = folder / "models" / name
    models.mkdir(parents=True)
    texts = {
        "model.yaml": SPEC.format(name=name, **{**PARTS, **parts}), "features.py": FEATURES, "estimator.py": ESTIMATOR,
        "sources.py": SOURCES.format(change=change),
    }  # fmt: skip
    for file, text in texts.items():
        (models / file).write_text(text)
    settings = read_settings({
        "RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models"),
    })  # fmt: skip
    settings.home.mkdir()
    upgrade(settings.database_url)
    workspace = Workspace(settings, MappedConnections({}), lambda: datetime(2026, 5, 1, tzinfo=UTC))
    model = workspace.model(name)
    days = partitions_between(model.spec, partition_of(model.spec, "2026-01-01"), partition_of(model.spec, last))
    land_many(model, name, list(days), lambda day: day.end, settings=settings, connections=workspace.connections,
              run_id="test")  # fmt: skip
    return workspace


def request(name, last=LAST, policies=DEFAULT, **changes):
    return BacktestRequest(ModelKey(name), FIRST, last, policies, **changes)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """A history whose concept turns round on `CHANGE`, and what it gives; fits are counted."""
    workspace = make_workspace(tmp_path_factory.mktemp("turned"), "turned", change=CHANGE)
    counted, fit = [], work.fit_candidate
    work.fit_candidate = lambda *args: counted.append(1) or fit(*args)
    try:
        result = run_backtest(workspace, request("turned"))
    finally:
        work.fit_candidate = fit
    yield SimpleNamespace(workspace=workspace, result=result, counted=len(counted))
    engine_of(workspace.settings.database_url).dispose()


@pytest.fixture(scope="module")
def steady_history(tmp_path_factory):
    """A history in which nothing changes, fitted in processes."""
    last = "2026-03-15"
    workspace = make_workspace(tmp_path_factory.mktemp("steady"), "steady", last=last)
    yield SimpleNamespace(workspace=workspace, result=run_backtest(workspace, request("steady", last), workers=2))
    engine_of(workspace.settings.database_url).dispose()


def test_performance_follows_a_change_of_concept_and_keeps_the_gain(turned):
    nightly, performance = turned.result.policy("nightly"), turned.result.policy("performance")
    assert turned.result.policy("never").gain.value == 0
    assert nightly.gain.low > 0.1
    assert performance.gain.value >= 0.9 * nightly.gain.value
    assert performance.fits <= nightly.fits / 5
    # The first word comes after the streak, and not before the change.
    assert CHANGE < performance.asked[0] <= "2026-02-20"
    assert performance.alarms >= 1
    # Inputs stay what they were.
    assert turned.result.policy("drift").fits == 1


def test_worth_is_told_by_policy_with_its_gain(turned):
    """A hit is worth one, so that a policy's worth is its accuracy."""
    never, nightly = (turned.result.policy(name).worth for name in ("never", "nightly"))
    assert never[1] == Interval(0, 0, 0)
    assert nightly[1].low > 0.05
    assert nightly[0].value - never[0].value == pytest.approx(nightly[1].value)
    assert 0.6 < nightly[0].value < 0.95
    head, rows = head_of(turned.result), tabulate(turned.result)
    assert head[-2:] == ("hits, orders a prediction", "its gain over never")
    assert rows[DEFAULT.index("nightly")][-1] == str(nightly[1])


def test_harm_is_found_and_missed_only_by_those_that_do_not_ask(turned):
    never, performance = turned.result.policy("never"), turned.result.policy("performance")
    assert never.harmed_days > 20
    assert never.missed_days == never.harmed_days
    assert turned.result.policy("nightly").harmed_days == 0
    assert performance.missed_days == 0


def test_fits_that_are_not_better_are_refused_and_counted(turned):
    nightly = turned.result.policy("nightly")
    # The gate of this spec is `superior`: only after the change is a fit better than the one before.
    assert 0 < nightly.fits - 1 - nightly.refused < 12
    assert turned.result.policy("performance").refused >= 1


def test_fits_are_shared_by_all_policies(turned):
    assert turned.counted == turned.result.fitted == len(turned.result.days)
    assert sum(one.fits for one in turned.result.policies) > turned.result.fitted
    assert turned.result.policy("weekly").fits == 1 + sum(
        datetime.fromisoformat(day).weekday() == 0 for day in turned.result.days[1:]
    )


def test_recommended_section_is_valid_and_keeps_the_rest_of_the_spec(turned):
    spec = turned.workspace.model("turned").spec
    found = recommend(turned.result, spec)
    assert found.pays
    assert found.policy in {"performance", "both", "weekly"}
    assert found.kept >= 0.95
    assert found.fits_share <= 0.2
    for name in (*DEFAULT, "monthly", "14d", "90d", None):
        merged = merge_section(spec, render_section(spec, name))
        assert merged.schedule.ingest == "5 1 * * *"
        assert merged.monitoring.policy.cooldown == spec.monitoring.policy.cooldown
        assert merged.monitoring.policy.quality == "none"
        assert merged.monitoring.policy.performance == ("retrain" if name in {"performance", "both"} else "alert")
        assert (merged.schedule.train is None) == (name in {"never", "drift", "performance", "both", None})


def test_without_change_nothing_is_asked_for_and_retraining_does_not_pay(steady_history):
    result = steady_history.result
    for name in ("drift", "performance", "both"):
        assert result.policy(name).fits == 1, name
        assert result.policy(name).asked == ()
    found = recommend(result, steady_history.workspace.model("steady").spec)
    assert not found.pays
    assert found.policy is None
    assert "does not pay" in found.reason
    section = yaml.safe_load(found.section)
    assert section["schedule"]["train"] is None
    assert section["monitoring"]["policy"]["performance"] == "alert"


def test_worth_is_watched_where_the_spec_says_how_much_less_counts(turned):
    """As in production: of a champion from before the change, by the labels that had come."""
    model = turned.workspace.model("turned")
    scope = model.spec.scope.model_copy(update={"business": model.spec.business.model_copy(update={"margin": 0.05})})
    watched = model.model_copy(update={"spec": model.spec.model_copy(update={"scope": scope})})
    asked = request("turned")
    for one, subjects in ((model, {"roc_auc"}), (watched, {"roc_auc", "hits"})):
        history, first = read_history(turned.workspace, one, asked, choose_candidate(turned.workspace, one, asked))
        days = [day.key for day in history.days]
        with open_folds(history, 1) as folds:
            assert folds.fit(first) is not None
            looks = Looks(folds, asked.key, first)
            before, after = (looks.look(first, days.index(day), frozenset({"performance"}))
                             for day in ("2026-02-14", "2026-02-18"))  # fmt: skip
        assert {signal.subject for signal in before.signals} == subjects
        assert not any(signal.is_fired for signal in before.signals)
        assert {signal.subject for signal in after.signals if signal.is_fired} == subjects


def test_what_predictions_are_worth_decides_where_the_metric_does_not(turned):
    """The order of scores may stay while decisions at a threshold get worse."""
    spec, nothing = turned.workspace.model("turned").spec, Interval(0.001, -0.01, 0.012)
    unclear = replace(turned.result, policies=tuple(replace(one, gain=nothing) for one in turned.result.policies))
    found = recommend(unclear, spec)
    whole = unclear.policy("nightly").worth[1]
    assert found.pays
    assert unclear.policy(found.policy).worth[1].value >= 0.95 * whole.value
    assert f"By roc_auc alone it would not pay: nightly's gain is {nothing}" in found.reason
    assert f"nightly's gain of hits, orders a prediction over never ({whole})" in found.reason
    silent = replace(unclear, worth=None, policies=tuple(replace(one, worth=None) for one in unclear.policies))
    assert not recommend(silent, spec).pays


def test_recommendation_for_segments_says_that_it_is_of_all_rows_together(turned):
    spec = turned.workspace.model("turned").spec
    divided = ModelSpec.model_validate(
        {**spec.model_dump(mode="json", exclude_unset=True), "segments": {"by": next(iter(spec.columns))}}
    )
    plain, found = recommend(turned.result, spec), recommend(turned.result, divided)
    assert (found.policy, found.pays) == (plain.policy, plain.pays)
    assert found.reason == f"{plain.reason} This is of one model of all rows; segments are not replayed."


def test_report_has_table_plot_page_and_files(steady_history):
    result, settings = steady_history.result, steady_history.workspace.settings
    found = recommend(result, steady_history.workspace.model("steady").spec)
    assert [row[0] for row in tabulate(result)] == [*DEFAULT]
    assert all(len(row) == len(head_of(result)) for row in tabulate(result))
    assert found.section.strip() in to_markdown(result, found)
    page = to_page(result, found)
    assert "<svg" in page
    assert "<script" not in page
    assert draw(result, "png") == draw(result, "png")
    folder = store_report(settings, result, found)
    assert store_report(settings, result, found) == folder
    told = json.loads((settings.home / "store" / folder / "results.json").read_text())
    assert told["recommendation"]["pays"] is False
    assert len(told["policies"][0]["weeks"]) == -(-len(result.days) // 7)


def test_labels_that_come_late_are_used_only_once_they_are_there(tmp_path):
    """With labels six days late, the same change is noticed about six days later, and no fit sees a late label."""
    parts = {"window": "32d", "validation": "7d", "test": "14d", "delay": "6d"}
    workspace = make_workspace(tmp_path, "late", change=CHANGE, last="2026-03-12", **parts)
    asked = replace(request("late", "2026-03-03", ("performance",)), first="2026-02-03")
    model = workspace.model("late")
    history, first = read_history(workspace, model, asked, choose_candidate(workspace, model, asked))
    day = first + 5
    unknown = ~history.is_known(np.arange(len(history.event)), day)
    assert unknown[history.offsets[day - 6] : history.offsets[day]].all()
    wrong = np.where(unknown, 1 - history.label, history.label)
    poisoned = replace(history, label=wrong, codes=wrong)
    with open_folds(history, 1) as honest, open_folds(poisoned, 1) as other:
        fit = honest.fit(day)
        assert not unknown[fit.test].any()
        assert other.fit(day).rows == fit.rows
        assert np.array_equal(honest.scores(day, day), other.scores(day, day))
        # A day whose labels have not come has no metric yet.
        assert np.isnan(honest.metric_known(day, day, day + 1))
        assert np.isfinite(honest.metric(day, day))
    performance = run_backtest(workspace, asked).policy("performance")
    assert "2026-02-21" < performance.asked[0] <= "2026-02-27"
    engine_of(workspace.settings.database_url).dispose()


def test_processes_give_what_one_process_gives(steady_history):
    one = run_backtest(steady_history.workspace, request("steady", "2026-02-05", ("nightly",)))
    for policy in one.policies:
        assert policy.days == steady_history.result.policy(policy.name).days[: len(one.days)]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"policies": ("weakly",)}, ValueError, "found 'weakly'.*did you mean 'weekly'"),
        ({"policies": ("0d",)}, ValueError, "expected any of never"),
        ({"first": "2026-03-01", "last": "2026-02-01"}, ValueError, "swap --from and --to"),
        ({"first": "2026-01-05"}, TooFewRowsError, "too few rows.*later --from"),
        ({"last": "2027-01-01"}, TooFewRowsError, "found labelled rows of .* to 2026-03-15"),
        ({"candidate": "logistics"}, SpecError, "did you mean 'logistic'"),
        ({"first": "soon"}, ValueError, "expected a date"),
    ],
)
def test_what_cannot_be_replayed_is_explained(steady_history, changes, error, words):
    asked = replace(request("steady", "2026-01-28", ("never",)), **changes)
    with pytest.raises(error, match=words):
        run_backtest(steady_history.workspace, asked)


def test_candidate_that_needs_no_parameter_is_taken_unless_another_is_named(steady_history):
    workspace = steady_history.workspace
    model = workspace.model("steady")
    assert choose_candidate(workspace, model, request("steady")).name == "logistic"
    named = choose_candidate(workspace, model, request("steady", candidate="needy", params={"C": 0.1}))
    assert (named.name, named.params) == ("needy", {"C": 0.1})
    assert [read_policy(name) for name in ("3d", "monthly")] == ["3d", "monthly"]


def test_command_and_task_say_the_same(steady_history, monkeypatch):
    from typer.testing import CliRunner

    from include.ratchet.cli import backtest as command
    from include.ratchet.cli.__main__ import app
    from include.ratchet.orchestration import backtests, links

    workspace, left = steady_history.workspace, {}
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    words = ["backtest", "steady", "--from", FIRST, "--to", "2026-02-05", "--policies", "weekly", "--workers", "1"]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [one["name"] for one in told["policies"]] == ["weekly", "never", "nightly"]
    assert CliRunner().invoke(app, [*words[:-4], "--policies", "weakly"]).exit_code == 2
    params = {"from": FIRST, "to": "2026-02-05", "policies": "weekly"}
    pushed = SimpleNamespace(xcom_push=lambda key, value: left.update({key: value}))
    monkeypatch.setattr(backtests, "open_workspace", lambda: workspace)
    for module in (backtests, links):
        monkeypatch.setattr(module, "get_current_context", lambda: {"params": params, "ti": pushed})
    monkeypatch.setattr(backtests.os, "cpu_count", lambda: 1)
    report = backtests.backtest("steady")
    assert report["policies"]["weekly"]["mean"] == told["policies"][0]["mean"]["value"]
    assert left["link_backtest"].startswith("/ratchet/reports/steady/backtest/2026-01-26_2026-02-05/")
    assert yaml.safe_load(backtests.recommend(report)) == yaml.safe_load(report["section"])
    shown = read_reports(workspace.settings, ModelKey("steady"), ["steady"]).backtest
    assert (shown.first, shown.last, shown.recommended) == ("2026-01-26", "2026-02-05", report["policy"])
    assert [(one.name, one.mean, one.fits) for one in shown.policies] == [
        (name, one["mean"], one["fits"]) for name, one in report["policies"].items()
    ]
    assert all(one.low <= one.mean <= one.high for one in shown.policies)
    assert f"/ratchet/{shown.page}" == left["link_backtest"]
    assert backtests.POLICIES == DEFAULT
    params["from"] = ""
    with pytest.raises(ValueError, match="from is empty"):
        backtests.backtest("steady")
