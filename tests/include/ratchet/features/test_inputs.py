"""Features from landed tables: versions, tables that are not there yet, and a history lived day by day."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from deltalake import write_deltalake

from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.features import Inputs, training_rows
from include.ratchet.features.inputs import Bucket
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.features.rides import (
    KEY,
    SCHEMAS,
    Row,
    make_inputs,
    make_model,
    make_settings,
    minute,
    steady_rides,
)

EVENING = minute(1000)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return make_model(tmp_path)


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def land(limits: Settings, model: Model, name: str, rows: list[Row]) -> int:
    """Append rows as one version, partitioned as landing does it."""
    table = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    keys = pa.array([f"p{i // 50}" for i in range(len(rows))])
    place = Table(limits, model.name, name)
    write_deltalake(
        place.location, table.append_column(PARTITION_COLUMN, keys), mode="append", partition_by=[PARTITION_COLUMN]
    )
    version = place.version()
    assert version is not None
    return version


def test_landed_tables_give_what_the_same_rows_in_memory_give(model: Model, limits: Settings) -> None:
    history = steady_rides()
    for name, rows in history.items():
        land(limits, model, name, rows)
    inputs = Inputs.open(limits, model)
    assert isinstance(inputs.tables["rides"], list)
    landed = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits)
    direct = training_rows(model, KEY, make_inputs(history), as_of=EVENING, window_start=None, settings=limits)
    assert landed.num_rows == 120
    assert landed.equals(direct)


def test_an_older_version_is_read_as_it_was(model: Model, limits: Settings) -> None:
    history = steady_rides()
    first = land(limits, model, "rides", history["rides"][:60])
    land(limits, model, "rides", history["rides"][60:])
    for versions, rows in (({"rides": first}, 60), ({}, 120)):
        inputs = Inputs.open(limits, model, versions)
        found = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits)
        assert found.num_rows == rows


def test_a_table_that_has_not_been_landed_is_empty(model: Model, limits: Settings) -> None:
    land(limits, model, "rides", steady_rides()["rides"])
    inputs = Inputs.open(limits, model)
    assert set(inputs.tables) == {"rides"}
    found = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits)
    assert found["rain_mm"].null_count == found.num_rows == 120


def test_a_dataset_gives_what_files_give(model: Model, limits: Settings) -> None:
    """Tables in a bucket are read as datasets: the query engine would need an extension to read them itself."""
    land(limits, model, "rides", steady_rides()["rides"])
    local = Inputs.open(limits, model)
    bucket = Bucket(Table(limits, model.name, "rides"), None)
    assert bucket.files() == local.tables["rides"]
    assert isinstance(bucket.dataset(), pads.Dataset)
    frames = [
        training_rows(model, KEY, one, as_of=EVENING, window_start=None, settings=limits)
        for one in (local, Inputs({"rides": bucket}))
    ]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("as_of", [minute(30), minute(77), minute(119) + timedelta(microseconds=1)])
def test_a_life_lived_to_an_instant_equals_looking_back_at_it(as_of: datetime, model: Model, limits: Settings) -> None:
    """What had been landed then, outcomes hidden as they were, gives the rows that the whole history gives for then."""
    history = steady_rides()
    hidden = {"fare": None, "is_late": None, "done_at": None}
    lived = {
        "rides": [
            row if row["done_at"] <= as_of else row | hidden
            for row in history["rides"] if row["at"] <= as_of
        ],
        "rain": [row for row in history["rain"] if row["seen_at"] <= as_of],
        "posts": [row for row in history["posts"] if row["known_at"] <= as_of],
        "zones": history["zones"],
    }  # fmt: skip
    then, now = (
        training_rows(model, KEY, make_inputs(one), as_of=as_of, window_start=None, settings=limits)
        for one in (lived, history)
    )
    assert then.num_rows > 15
    assert then.equals(now)
