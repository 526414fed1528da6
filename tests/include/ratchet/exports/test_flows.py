"""What a step is said to have read and written, also if it failed, was skipped or was never told of."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.tables import Table
from include.ratchet.errors import ValidationFailedError
from include.ratchet.exports.flows import FLOWS, Flow, Step, trace_step
from include.ratchet.orchestration import fleets, monitors, records, rollouts, scores, steps
from include.ratchet.pipeline.ingest import describe, land_partitions, validate_landed
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

MODULES = {"steps": steps, "fleets": fleets, "rollouts": rollouts, "scores": scores, "records": records,
           "monitors": monitors}  # fmt: skip
DAY = "2026-01-05"
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def workspace(tmp_path):
    make_model(tmp_path / "models", "orders")
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    yield Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, tzinfo=UTC))
    engine_of(settings.database_url).dispose()


def tell(workspace, name, given, result=None, *, is_done=False):
    return trace_step(name, Step(workspace, "run 1", given, result, is_done))


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_is_of_a_step_that_there_is(name):
    module, _, function = name.partition(".")
    assert callable(getattr(MODULES[module], function))


def test_a_step_that_moves_nothing_has_an_empty_flow(workspace):
    assert tell(workspace, "steps.plan_partitions", {"model": "orders"}) == Flow()


def test_of_a_partition_that_is_refused_it_says_which_expectation_did_not_hold(workspace):
    model = workspace.model("orders")
    landed = {"keys": [DAY], "tables": describe(land_partitions(workspace, model, [DAY], "run 1"))}
    table = Table(workspace.settings, "orders", "orders")
    rows = table.read()
    place = rows.column_names.index("price")
    bad = rows.set_column(place, "price", pa.array([-1.0, *rows["price"].to_pylist()[1:]]))
    landed["tables"]["orders"]["version"] = table.commit(table.open(), bad, [DAY], {}, {})
    with pytest.raises(ValidationFailedError):
        validate_landed(workspace, model, [DAY], "run 1")
    (found,) = tell(workspace, "steps.validate", {"model": "orders", "landed": landed}).inputs
    assert found.facets["version"].datasetVersion == "1"
    broken = [one for one in found.inputFacets["dataQualityAssertions"].assertions if not one.success]
    assert [(one.column, one.severity) for one in broken] == [("price", "error")]
    (unchecked,) = trace_step(
        "steps.validate", Step(workspace, "another run", {"model": "orders", "landed": landed}, None, False)
    ).inputs
    assert unchecked.inputFacets == {}


@pytest.mark.parametrize("name", FLOWS)
def test_a_step_that_failed_before_it_did_anything_has_a_flow(workspace, name):
    request = TrainingRequest(ModelKey("orders"), "first", datetime(2026, 3, 1, tzinfo=UTC)).to_dict()
    landed = {"keys": [DAY], "tables": {}}
    given = {"request": request} if name.startswith(("steps.t", "steps.v", "steps.p", "steps.r", "steps.f", "steps.e",
                                                     "steps.d", "fleets")) else {"model": "orders"}  # fmt: skip
    if name in ("steps.validate", "steps.publish", "steps.materialise"):
        given = {"model": "orders", "landed": landed}
    if name == "scores.score":
        # Nothing has landed that could be named.
        assert all(one.facets.get("version") is None for one in tell(workspace, name, given).inputs)
        return
    assert tell(workspace, name, given) == Flow()
