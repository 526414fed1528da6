"""What is kept with a version: rows to explain it by, what it leans on, and the checklist with what was served."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from include.ratchet.evaluation.sources import SOURCES
from include.ratchet.explanations.overview import OVERVIEW
from include.ratchet.pipeline.judge import read_fitted
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.trust import look_into
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.example import BACKGROUND, load_example
from include.ratchet.registry.versions import get_version, load_estimator, read_artifact
from include.ratchet.spec import ModelKey
from include.ratchet.training.fit import predict
from tests.include.ratchet.replay.lived import AS_OF, KEY, NAME, live, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    lived = live(tmp_path_factory.mktemp("lived"), "evaluation: {sensitive: [shop], bias: {label_source: measured}}\n")
    yield lived
    engine_of(lived.settings.database_url).dispose()


def read(workspace, number, path):
    return read_artifact(get_version(KEY, number, workspace.settings), path, workspace.settings)


def test_background_is_of_the_rows_that_were_learnt_from_with_their_scores(workspace):
    version = get_version(KEY, 1, workspace.settings)
    rows, scores = load_example(read(workspace, 1, BACKGROUND))
    assert len(rows) == 100
    estimator = load_estimator(workspace.model(NAME), version, workspace.settings)
    assert predict(estimator, rows[list(version.lineage.features)], "binary").tolist() == scores.tolist()
    data = read_fitted(workspace, TrainingRequest(KEY, "long", AS_OF, trials=2, force=True)).data
    learnt = set(data.frame.iloc[data.split.development]["price"].tolist())
    assert set(rows["price"].tolist()) <= learnt


def test_checklist_knows_who_was_served_and_whose_labels_came(workspace):
    before = json.loads(read(workspace, 2, SOURCES))
    assert next(one for one in before if "served" in one["question"])["answer"].startswith("no row that was served")
    for day in ("2026-02-20", "2026-02-21"):
        orders = read_orders(workspace, day, 200)
        web = orders.filter([shop == "web" for shop in orders["shop"].to_pylist()])
        record(workspace, web, f"log-{day}")
    request = TrainingRequest(KEY, "third", AS_OF, window=timedelta(days=40), trials=2, force=True)
    version = run_model(workspace, workspace.model(NAME), request, lambda *_: None).version
    found = {one["question"]: one for one in json.loads(read(workspace, version.number, SOURCES))}
    served = next(one for question, one in found.items() if "among those served" in question)
    assert served["status"] == "look"
    assert "and 100.0%" in served["answer"]
    assert "labels have come of web 100.0%" in next(one["answer"] for one in found.values() if "come as" in
                                                    one["question"])  # fmt: skip
    card = read(workspace, version.number, "card.md").decode()
    assert "## Sources of human bias in the data" in card
    assert "## Fairness over shop: before and after" in card
    assert served["answer"].split(",")[0] in card


def test_of_a_segment_only_the_background_is_kept(workspace):
    request = TrainingRequest(KEY, "long", AS_OF, trials=2, force=True)
    fitted = read_fitted(workspace, request)
    part = TrainingRequest(ModelKey(NAME, "web"), "long", AS_OF)
    assert set(look_into(workspace, part, fitted.data, fitted.estimator, {}).files()) == {BACKGROUND}
    assert set(look_into(workspace, request, fitted.data, fitted.estimator, {}).files()) == {
        BACKGROUND, OVERVIEW, SOURCES,
    }  # fmt: skip
