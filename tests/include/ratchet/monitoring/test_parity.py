"""Fairness of what was answered, from records and labels, by hand; and the command that shows it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import demographic_parity_difference
from typer.testing import CliRunner

from include.ratchet.cli import fairness as command
from include.ratchet.cli.__main__ import app
from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.monitoring.parity import read_fairness, read_promotions
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.versions import get_version
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from tests.include.ratchet.replay.lived import KEY, NAME, live, read_orders, record
from tests.include.ratchet.training.data import make_model

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py
END = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = ("2026-02-20", "2026-02-21", "2026-02-24", "2026-02-25")


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lived")
    workspace = live(folder, "evaluation: {sensitive: [shop], slices: [shop], min_slice_rows: 30, resamples: 200,"
                             " threshold: 0.3}\n")  # fmt: skip
    yield workspace
    engine_of(workspace.settings.database_url).dispose()


@pytest.fixture
def workspace(lived, tmp_path):
    shutil.copytree(lived.settings.store, tmp_path / "store")
    return replace(lived, settings=replace(lived.settings, store=str(tmp_path / "store")))


@pytest.fixture
def answered(workspace):
    """Two days by version 1, then two by version 2; one order of them was asked twice."""
    for day, version in zip(DAYS, (1, 1, 2, 2), strict=True):
        record(workspace, read_orders(workspace, day, 200), f"log-{day}", version=version)
    record(workspace, read_orders(workspace, DAYS[3], 1), "again", version=2)
    return workspace


@pytest.fixture
def ratchet(workspace, monkeypatch):
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    return lambda *words: CliRunner().invoke(app, ["fairness", *words], env={"COLUMNS": "220"})


def read(workspace, **changes):
    return read_fairness(workspace.settings, workspace.model(NAME), KEY, END, **changes)


def by_hand(workspace, days, scores):
    """The gap of positive rates between shops."""
    table = pa.concat_tables([read_orders(workspace, day, 200) for day in days])
    said = (np.concatenate([scores[day] for day in days]) >= 0.3).astype(int)
    return demographic_parity_difference(said, said, sensitive_features=table["shop"].to_pylist())


def gap_of(parities, name="positive_rate"):
    (parity,) = parities
    return next(change for change in parity.gaps if change.rate == name)


def test_periods_and_successions_are_those_of_the_records(workspace):
    scores = {}
    for day, version in zip(DAYS, (1, 1, 2, 2), strict=True):
        rows = record(workspace, read_orders(workspace, day, 200), f"log-{day}", version=version)
        scores[day] = np.array([row["score"] for row in rows])
    found = read(workspace, days=3)
    assert (found.rows, found.labelled) == (800, 800)
    assert [(one.version, one.rows) for one in found.periods] == [(1, 400), (2, 400)]
    assert gap_of(found.periods[0].parity).after.value == pytest.approx(by_hand(workspace, DAYS[:2], scores))
    (step,) = found.successions
    assert (step.before, step.after) == (1, 2)
    change = gap_of(step.parity)
    assert change.before.value == pytest.approx(by_hand(workspace, DAYS[:2], scores))
    assert change.after.value == pytest.approx(by_hand(workspace, DAYS[2:], scores))
    assert change.change.value == pytest.approx(change.after.value - change.before.value)
    assert {group: share for one in found.periods for group, share in one.arrived["shop"].items()} == {
        "north": 1.0, "south": 1.0, "web": 1.0,
    }  # fmt: skip
    assert found.what_if[0].plans[0].name == "as it is"


def test_what_was_asked_again_counts_once_and_shadows_and_later_labels_do_not(answered):
    record(answered, read_orders(answered, DAYS[3], 50), "shadow", version=1, route="shadow")
    assert read(answered).rows == 800
    early = read_fairness(answered.settings, answered.model(NAME), KEY, datetime(2026, 2, 22, tzinfo=UTC), days=3)
    assert early.labelled < 400
    assert min(early.periods[0].arrived["shop"].values()) > 0
    assert set(early.periods[-1].arrived["shop"].values()) == {0.0}
    assert early.periods[-1].parity == ()
    assert read(answered, last=3).rows == 400


def test_a_group_that_is_no_feature_is_read_from_what_callers_sent(answered):
    model = answered.model(NAME)
    told = model.spec.evaluation.model_copy(update={"sensitive": ("is_big",), "slices": ("shop",)})
    other = model.model_copy(update={"spec": model.spec.model_copy(update={"evaluation": told})})
    for day in DAYS[2:]:
        orders = read_orders(answered, day, 200)

        def mark(row):
            row["payload"] = json.dumps({**json.loads(row["payload"]), "is_big": row["feature_price"] > 20})
            row["version"] = 3

        record(answered, orders, f"marked-{day}", change=mark)
    found = read_fairness(answered.settings, other, KEY, END)
    last = found.periods[-1]
    assert {one.group for one in last.parity[0].groups} == {"True", "False"}
    assert [name for name, _ in found.slices] == ["shop = north", "shop = south", "shop = web"]


def test_no_records_and_another_segment_have_no_fairness(workspace):
    empty = read(workspace)
    assert (empty.rows, empty.start, empty.periods) == (0, None, ())
    record(workspace, read_orders(workspace, DAYS[0], 20), "log")
    nobody = read_fairness(workspace.settings, workspace.model(NAME), ModelKey(NAME, "web"), END)
    assert (nobody.rows, nobody.periods) == (0, ())
    assert nobody.start is not None


def test_promotions_compare_the_champion_with_what_followed_on_the_same_rows(workspace):
    first, second = read_promotions(workspace.settings, KEY)
    assert (first.version, second.version) == (1, 2)
    assert gap_of(first.parity).before is None
    change = gap_of(second.parity)
    assert change.change.value == pytest.approx(change.after.value - change.before.value)
    assert gap_of(first.parity).after.value != change.after.value


def test_a_promoted_version_that_is_gone_hides_no_other(workspace, monkeypatch):
    def forget(key, number, settings):
        if number == 1:
            raise VersionNotFoundError
        return get_version(key, number, settings)

    monkeypatch.setattr("include.ratchet.monitoring.parity.get_version", forget)
    assert [one.version for one in read_promotions(workspace.settings, KEY)] == [2]


def test_command_shows_promotions_time_slices_and_costs(ratchet, answered):
    shown = ratchet(NAME, "--days", "3", "--what-if")
    assert shown.exit_code == 0, shown.output
    for words in ("at each promotion", "800 rows, 800 of them with a label", "1 to 2", "equalised odds", "lawyer"):
        assert words in " ".join(shown.output.split())
    told = json.loads(ratchet(NAME, "--json").stdout)
    assert {"promotions", "periods", "successions", "slices"} <= set(told)
    assert "what_if" not in told
    assert [one["version"] for one in told["promotions"]] == [1, 2]
    assert ratchet(NAME, "--batch").exit_code == 0
    told = json.loads(ratchet(NAME, "--json", "--what-if").stdout)["what_if"]
    assert told["of"] == "rows that were answered in the last 56 days"
    nothing = json.loads(ratchet(NAME, "--json", "--what-if", "--batch").stdout)["what_if"]
    assert nothing["of"] == "the test rows of version 2"
    assert nothing["plans"][0]["plans"][0]["name"] == "as it is"


def test_command_asks_for_sensitive_attributes(ratchet, workspace, monkeypatch):
    spec = workspace.model(NAME)
    told = spec.spec.evaluation.model_copy(update={"sensitive": ()})
    other = spec.model_copy(update={"spec": spec.spec.model_copy(update={"evaluation": told})})
    monkeypatch.setattr(type(workspace), "model", lambda self, name: other)
    refused = ratchet(NAME)
    assert refused.exit_code == 2
    assert "names no attribute" in refused.output


def test_labels_are_those_that_landed(answered):
    found = read(answered, days=60)
    rates = {one.group: one.rates for one in found.periods[1].parity[0].groups}
    table = pa.concat_tables([Table(answered.settings, NAME, NAME).read([day]) for day in DAYS[2:]])
    web = [row["is_returned"] for row in table.to_pylist() if row["shop"] == "web"]
    assert sum(one.rows for one in found.periods[1].parity[0].groups if one.group == "web") == len(web)
    true = next(change for change in rates["web"] if change.rate == "true_positive_rate")
    assert true.after.value * sum(web) == pytest.approx(round(true.after.value * sum(web)), abs=1e-9)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_read_from_answers_and_from_what_callers_said(tmp_path, task):
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home")})
    model = make_model(tmp_path / "orders", task=task, evaluation={"sensitive": ["shop"], "min_slice_rows": 20})
    draw, at = np.random.default_rng(2), datetime(2026, 2, 20, 12, tzinfo=UTC)
    rows, feedback, right = [], [], {"web": [], "north": []}
    for number in range(200):
        shop, likely, truth = ("web", "north")[number % 2], *draw.choice(np.array(["low", "high"]), 2)
        shares = {"low": 0.3, "high": 0.3, likely: 0.7}
        value, found = float(number % 7), float(number % 5)
        is_multi = task == "multiclass"
        right[shop].append(likely == truth if is_multi else abs(value - found))
        known = {"event_time": at, "received_at": at, "key": f'["{number}"]'}
        rows.append(known | {
            "request_id": f"r{number}", "row": 0, "segment": "all", "version": 1, "route": "champion",
            "score": 0.7 if is_multi else value, "output": json.dumps({"probabilities": shares} if is_multi else {}),
            "feature_shop": shop,
        })  # fmt: skip
        said = str(truth) if is_multi else found
        feedback.append(known | {"kind": "label", "value": json.dumps(said), "available_time": at})
    RecordTable(settings, model, "requests").append(rows, "log", 200)
    RecordTable(settings, model, "feedback").append(feedback, "said", 200)
    found = read_fairness(settings, model, ModelKey(model.name), END)
    assert (found.rows, found.labelled, found.what_if) == (200, 200, ())
    (period,) = found.periods
    rates = {one.group: one.rates[0].after.value for one in period.parity[0].groups}
    assert rates == pytest.approx({shop: np.mean(values) for shop, values in right.items()})
