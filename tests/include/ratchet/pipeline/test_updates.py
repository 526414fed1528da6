"""Dynamic models: an update learns on from the champion, passes the same gates, and can be made again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.errors import SpecError
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.reproduce import reproduce
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.updates import choose_base
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.versions import get_version, load_estimator
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in test_life.py

NAME = "order_returns"
KEY = ModelKey(NAME)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
_ESTIMATOR = """
def estimator(candidate, params, seed, threads):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import {kind}
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepare = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), ["price", "shop_return_rate_7d"]),
    )
    return make_pipeline(prepare, {made})
"""
SGD = _ESTIMATOR.format(kind="SGDClassifier", made='SGDClassifier(loss="log_loss", alpha=0.001, random_state=seed)')
PLAIN = _ESTIMATOR.format(kind="LogisticRegression", made="LogisticRegression(random_state=seed)")


@pytest.fixture
def workspace(tmp_path):
    folder = make_model(tmp_path / "models", NAME)
    (folder / "estimator.py").write_text(SGD)
    spec = (folder / "model.yaml").read_text()
    spec = spec.replace("{logistic: {space: {C: {float: [0.01, 10], log: true}}}}", "{sgd: {}}")
    spec += "  updates: {full_every: 10d}\ngates: {margin: 0.2, min_metric: 0.5}\n"
    (folder / "model.yaml").write_text(spec.replace("window: {length: 60d}", "window: {length: 30d}"))
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    yield Workspace(settings, MappedConnections({}), lambda: datetime.now(UTC))
    engine_of(settings.database_url).dispose()


def train(workspace, days, **options):
    request = TrainingRequest(KEY, f"after-{days}", AS_OF + days * DAY, trials=1, **options)
    request = choose_base(workspace, request)
    return run_model(workspace, workspace.model(NAME), request, lambda *_: None)


def test_updates_chain_until_a_whole_fit_is_due(workspace):
    bases = []
    for days in (0, 3, 6, 12):
        result = train(workspace, days)
        assert result.promotion.is_promoted, result.verdict.table()
        assert len(result.verdict.gates) > 5
        bases.append(result.version.lineage.base)
    assert bases == [None, 1, 2, None]
    settings, model = workspace.settings, workspace.model(NAME)
    steps = [load_estimator(model, get_version(KEY, number, settings), settings)[-1].t_ for number in (1, 2, 3)]
    # Steps of the gradient: the update took those of three days' new rows only.
    assert 0 < steps[1] - steps[0] <= 3 * 200
    assert 0 < steps[2] - steps[1] <= 3 * 200
    again = reproduce(workspace, KEY, 3)
    assert again.is_identical, again.differences


def test_whole_fit_where_somebody_asked_or_features_changed(workspace):
    train(workspace, 0)
    asked = TrainingRequest(KEY, "asked", AS_OF + DAY)
    assert choose_base(workspace, asked).base == 1
    assert choose_base(workspace, replace(asked, answers=("request:1",))).base is None
    assert choose_base(workspace, replace(asked, force=True)).base is None
    assert choose_base(workspace, replace(asked, as_of=AS_OF)).base is None
    assert choose_base(workspace, replace(asked, as_of=AS_OF + 10 * DAY)).base is None
    path = workspace.settings.models_dir / NAME / "features.py"
    price = "        price=order.price,\n"
    path.write_text(path.read_text().replace(price, f"{price}        twice=order.price * 2,\n"))
    assert choose_base(workspace, asked).base is None


def test_estimator_that_cannot_learn_on_says_what_to_do(workspace):
    (workspace.settings.models_dir / NAME / "estimator.py").write_text(PLAIN)
    train(workspace, 0)
    with pytest.raises(SpecError, match="has no partial_fit; add `def update"):
        train(workspace, 3)


def test_own_update_is_used(workspace):
    path = workspace.settings.models_dir / NAME / "estimator.py"
    path.write_text(PLAIN + "\n\ndef update(estimator, features, label):\n    return estimator.fit(features, label)\n")
    train(workspace, 0)
    result = train(workspace, 3)
    assert result.version.lineage.base == 1


def test_updates_want_a_split_by_time(workspace):
    path = workspace.settings.models_dir / NAME / "model.yaml"
    path.write_text(path.read_text().replace("split: {", "split: {by: random, "))
    with pytest.raises(SpecError, match="expected time"):
        workspace.model(NAME)


def test_each_segment_learns_on_from_its_own_champion(workspace):
    path = workspace.model(NAME).folder / "model.yaml"
    text = path.read_text().replace("min_metric: 0.5", "beats_baseline: -1.0, min_test_rows: 50")
    path.write_text(f"{text}segments: {{by: shop, min_rows: 100, pool: false}}\n")
    shops = ("north", "south", "web")
    for days in (0, 3, 12):
        result = train(workspace, days)
        assert {one.segment: one.outcome for one in result.fleet} == dict.fromkeys(shops, "promoted")
    for shop in shops:
        versions = [get_version(ModelKey(NAME, shop), number, workspace.settings) for number in (1, 2, 3)]
        assert [one.lineage.base for one in versions] == [None, 1, None]
        assert reproduce(workspace, ModelKey(NAME, shop), 2).is_identical
