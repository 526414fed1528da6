"""Spark gives what DuckDB gives, and sees as little of the future."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.ratchet.errors import BackendUnavailableError, RowCountError, SchemaChangedError, SpecError
from include.ratchet.features import Inputs, scoring_rows, training_rows, write_training_rows
from include.ratchet.features.definition import compile_sql
from include.ratchet.features.engine import Engine
from include.ratchet.features.perturbation import perturb_inputs
from include.ratchet.features.spark.dialect import compile_spark
from include.ratchet.features.spark.session import SparkEngine, open_application, spark_paths
from include.ratchet.settings import PROJECT, Settings, read_settings
from include.ratchet.spec import Model, ModelKey, Partition, get_model
from include.ratchet.spec.modules import load_function
from tests.debian import need
from tests.include.ratchet.features.rides import (
    FEATURES,
    HEAD,
    KEY,
    LEAD,
    START,
    History,
    Row,
    expect_features,
    make_inputs,
    make_model,
    minute,
    steady_rides,
)
from tests.include.ratchet.features.test_annotated import ANNOTATED, settled

pytestmark = pytest.mark.timeout(600)
AS_OF = START + timedelta(hours=3)


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of one Spark application for the whole module: with little to compile, as tests run little."""
    need(["java"], ["openjdk-17-jre-headless"])
    patch = pytest.MonkeyPatch()
    flags = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    patch.setenv("PYSPARK_SUBMIT_ARGS", f"--driver-memory 2g --driver-java-options '{flags}' pyspark-shell")
    home = tmp_path_factory.mktemp("spark")
    patch.setenv("SPARK_LOCAL_DIRS", str(home))
    settings = replace(read_settings({"RATCHET_HOME": str(home)}), spark_master="local[2]")
    yield settings
    open_application(settings.spark_master).stop()
    patch.undo()


def on(backend: str, model: Model) -> Model:
    """The model with another backend."""
    training = model.spec.training.model_copy(update={"backend": backend})
    return model.model_copy(update={"spec": model.spec.model_copy(update={"training": training})})


def random_rides(seed: int, count: int = 150) -> History:
    """Tables full of ties, nulls, unknown keys, late and missing labels."""
    dice = random.Random(seed)  # noqa: S311

    def zone() -> str | None:
        return dice.choice(["north", "south", "east", None])

    rides: list[Row] = []
    for number in range(count):
        at, done = minute(dice.randrange(40)), dice.choice([None, *range(1, 16)])
        rides.append(
            {
                "ride_id": f"r{number:03d}", "at": at, "zone": zone(), "driver": dice.choice(["ann", "bob", None]),
                "seats": dice.choice([None, 1, 2, 3, 4]), "is_late": dice.choice([None, True, False]),
                "fare": dice.choice([None, dice.randrange(-500, 5000) / 100]),
                "done_at": None if done is None else at + timedelta(minutes=5 * done),
            }
        )  # fmt: skip
    seen = {(zone(), minute(dice.randrange(40))) for _ in range(40)}
    rain = [{"zone": where, "seen_at": at, "mm": dice.choice([None, dice.random()])} for where, at in seen]
    posts = []
    for number in range(60):
        said = minute(dice.randrange(30))
        known = said + timedelta(minutes=5 * dice.randrange(10))
        posts.append({"post_id": number, "zone": zone(), "said_at": said, "known_at": known, "score": number * 10})
    return {"rides": rides, "rain": rain, "posts": posts, "zones": [{"zone": "north", "size": 7}]}


def both(model: Model, inputs: Inputs, settings: Settings, as_of: datetime = AS_OF) -> list[pa.Table]:
    return [
        training_rows(on(one, model), ModelKey(model.name), inputs, as_of=as_of, window_start=None, settings=settings)
        for one in ("duckdb", "spark")
    ]


def assert_same(ours: pa.Table, theirs: pa.Table) -> None:
    """Equal to the bit: names, types, order and values."""
    assert ours.schema == theirs.schema
    assert [name for name in ours.column_names if not ours[name].equals(theirs[name])] == []


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The flights' first month with its weather and planes, as files of several weeks."""
    model, folder = get_model(PROJECT / "include" / "models", "flight_delay"), tmp_path_factory.mktemp("flights")
    files: dict[str, list[str]] = {}
    starts = [datetime(2012, 12, 31, tzinfo=UTC), *(datetime(2013, 1, day, tzinfo=UTC) for day in (12, 22, 31))]
    for name, source in {"flight_delay": "flights", "weather": "weather", "planes": "planes"}.items():
        for number, (start, end) in enumerate(pairwise(starts)):
            path = folder / name / f"_partition={number}" / "it's [one].parquet"
            if name == "planes" and number:
                continue
            path.parent.mkdir(parents=True)
            pq.write_table(load_function(model, "sources.py", source)(Partition("weeks", start, end), end), path)
            files.setdefault(name, []).append(str(path))
    return files


def test_labels_that_people_gave_are_the_same(tmp_path: Path, limits: Settings) -> None:
    model = make_model(tmp_path, spec=ANNOTATED)
    words = [(number, "ann", 3 * number, number % 4 == 0) for number in range(12)]
    inputs = settled(model, make_inputs(random_rides(1)), words, AS_OF)
    ours, theirs = both(model, inputs, limits)
    assert ours.num_rows > 20
    assert_same(ours, theirs)


def test_a_month_of_the_flights_has_the_same_features_to_the_bit(
    flights: Mapping[str, list[str]], limits: Settings, tmp_path: Path
) -> None:
    model, as_of = get_model(PROJECT / "include" / "models", "flight_delay"), datetime(2013, 1, 31, tzinfo=UTC)
    ours, theirs = both(model, Inputs(flights), limits, as_of)
    assert ours.num_rows > 20_000
    assert_same(ours, theirs)
    written = write_training_rows(
        on("spark", model), ModelKey(model.name), Inputs(flights), tmp_path / "rows", as_of=as_of,
        window_start=as_of - timedelta(days=7), settings=limits,
    )  # fmt: skip
    order = [(name, "ascending") for name in (model.spec.event_time, *model.spec.keys)]
    files = pq.read_table(tmp_path / "rows").sort_by(order)
    assert files.num_rows == written
    assert_same(ours.slice(ours.num_rows - written), files)


@pytest.mark.parametrize("seed", [1, 2])
def test_ties_nulls_and_late_labels_are_what_plain_python_says(seed: int, limits: Settings, tmp_path: Path) -> None:
    model, history = make_model(tmp_path), random_rides(seed)
    inputs = make_inputs(history)
    asked = inputs.tables["rides"]
    found = scoring_rows(on("spark", model), KEY, inputs, asked, settings=limits)
    assert_same(scoring_rows(model, KEY, inputs, asked, settings=limits), found)
    for got, ride in zip(found.to_pylist(), history["rides"], strict=True):
        want = expect_features(history, ride)
        assert {name: got[name] for name in want} == want
    ours, theirs = both(model, inputs, limits)
    assert ours.num_rows > 10
    assert_same(ours, theirs)


def test_empty_histories_and_tables_that_have_not_landed(limits: Settings, tmp_path: Path) -> None:
    model, rides = make_model(tmp_path), make_inputs({"rides": steady_rides(12)["rides"]})
    found = scoring_rows(on("spark", model), KEY, rides, rides.tables["rides"], settings=limits)
    assert_same(scoring_rows(model, KEY, rides, rides.tables["rides"], settings=limits), found)
    assert found["rain_mm"].null_count == found.num_rows == 12
    for table in both(model, Inputs({}), limits):
        assert table.num_rows == 0


def test_nothing_that_became_known_later_moves_a_feature(limits: Settings, tmp_path: Path) -> None:
    model, inputs, since = on("spark", make_model(tmp_path)), make_inputs(steady_rides()), minute(60)
    changed, count = perturb_inputs(model, inputs, since, settings=limits)
    assert count > 0
    rides = inputs.tables["rides"]
    asked = rides.filter(pa.array([at - LEAD <= since for at in rides["at"].to_pylist()]))
    before, after = (scoring_rows(model, KEY, one, asked, settings=limits) for one in (inputs, changed))
    assert before.num_rows > 50
    assert_same(before, after)
    moved = (scoring_rows(model, KEY, one, rides, settings=limits) for one in (inputs, changed))
    assert not next(moved).equals(next(moved))  # what came later is seen by those that are predicted later


EXPRESSIONS = {
    "null": "x.isnull()",
    "not null": "x.notnull()",
    "infinite": "x.isinf()",
    "division": "x / y",
    "whole division": "(n // 3).cast('int64')",
    "modulo": "n % 3",
    "rounded": "x.fill_null(0.0).clip(-99, 99).round()",
    "cast": "ibis.ifelse(x.isnan() | x.isinf(), 0.5, x).cast('int64')",
    "seconds": "at.epoch_seconds() - seen.epoch_seconds()",
    "local hour": "local_time(at, 'America/New_York').hour()",
    "weekday": "at.day_of_week.index()",
    "earlier": "(at - ibis.interval(hours=2)) < seen",
}


def test_expressions_mean_the_same(limits: Settings, tmp_path: Path) -> None:
    """Where Ibis would have Spark answer otherwise than DuckDB: NaN, infinity, zero, halves, fractions of a second."""
    from include.ratchet.features import local_time

    nan, inf = float("nan"), float("inf")
    at = [datetime(2024, 3, 10, 6, 59, 59, 600_000, tzinfo=UTC) + timedelta(hours=hour) for hour in range(8)]
    rows = pa.table(
        {
            "x": [1.0, -2.5, 0.0, nan, inf, -inf, None, 1.5], "y": [0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 1.0, None],
            "n": [7, -7, 0, 3, -3, None, 100, -100],
            "at": pa.array(at, pa.timestamp("us", "UTC")), "seen": pa.array([at[4]] * 8, pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip
    kinds = {"x": "float64", "y": "float64", "n": "int64", "at": "timestamp(6)", "seen": "timestamp(6)"}
    table = ibis.table(kinds, name="rows")
    scope: dict[str, Any] = {name: table[name] for name in kinds} | {"ibis": ibis, "local_time": local_time}
    asked = table.select(**{name: eval(text, scope) for name, text in EXPRESSIONS.items()})  # noqa: S307
    with Engine(limits) as duckdb:
        duckdb.bind("rows", rows, dict(table.schema().items()))
        ours = duckdb.fetch(compile_sql(asked)).to_pydict()
    with SparkEngine(limits) as spark:
        handed = spark.session.createDataFrame(rows)
        for name in ("at", "seen"):
            handed = handed.withColumn(name, handed[name].cast("timestamp_ntz"))
        handed.createOrReplaceTempView("rows")
        theirs = spark.run(asked, "the test").toArrow().to_pydict()
    assert {name: repr(values) for name, values in theirs.items()} == {
        name: repr(values) for name, values in ours.items()
    }


def test_a_join_that_multiplies_rows_is_named(limits: Settings, tmp_path: Path) -> None:
    model, history = on("spark", make_model(tmp_path)), steady_rides(20)
    twice = make_inputs({**history, "zones": [{"zone": "north", "size": 3}, {"zone": "north", "size": 4}]})
    with pytest.raises(RowCountError, match=r"lookup of zones by zone\): multiplied rows: 20 in, 30 out"):
        scoring_rows(model, KEY, twice, twice.tables["rides"], settings=limits)


def test_queries_and_computed_keys_and_columns(limits: Settings, tmp_path: Path) -> None:
    body = (
        "    def count(rows):\n"
        "        near = rows.left_join(t.zones, 'zone')\n"
        "        return near.group_by('_row').agg(n=_.size.count())\n"
        "    hours = t.history.mutate(hour=_.at.hour() * 1)\n"
        "    rain = latest(t.rain.mutate(hour=_.seen_at.hour()), on='zone')\n"
        "    alike = rolling(hours, by={'seats': 'hour'}, over='9h')\n"
        "    return Features(zones=query(count).n, hour=rain.hour, alike=alike.count(), fare=alike.mean('fare'))"
    )
    model, inputs = make_model(tmp_path, f"{HEAD}def features(t):\n{body}\n"), make_inputs(steady_rides())
    ours, theirs = both(model, inputs, limits, minute(999))
    assert set(ours["alike"].to_pylist()) > {0}
    assert_same(ours, theirs)


def test_what_spark_has_no_words_for_is_said() -> None:
    left, right = (ibis.table({"a": "int64", "at": "timestamp"}, name=name) for name in ("left", "right"))
    with pytest.raises(SpecError, match=r"join_1: Spark cannot run this: ASOF joins .* set training.backend to duckdb"):
        compile_spark(left.asof_join(right, on=left.at > right.at), "join_1")


def test_a_column_that_is_not_there_is_named(limits: Settings, tmp_path: Path) -> None:
    model, inputs = on("spark", make_model(tmp_path)), make_inputs(steady_rides(5))
    rain = inputs.tables["rain"].drop_columns(["mm"])  # type: ignore[union-attr]
    with pytest.raises(SchemaChangedError, match=r"rain: .* expected mm too"):
        scoring_rows(model, KEY, Inputs({**inputs.tables, "rain": rain}), inputs.tables["rides"], settings=limits)


def test_the_backend_is_no_part_of_what_a_model_is(tmp_path: Path) -> None:
    model = make_model(tmp_path, FEATURES)
    assert on("spark", model).spec.hash == model.spec.hash


def test_a_bucket_s_files_go_by_hadoop_s_names() -> None:
    assert spark_paths(["s3://lake/a/_partition=1/x.parquet", "/lake/b[1].parquet"]) == [
        "s3a://lake/a/_partition=1/x.parquet",
        "/lake/b\\[1\\].parquet",
    ]


def test_without_pyspark_one_error_says_how_to_get_it() -> None:
    """In a process of its own, to which pyspark is not there."""
    program = (
        "import sys, json; sys.modules['pyspark'] = None\n"
        "from include.ratchet.errors import BackendUnavailableError\n"
        "from include.ratchet.features import training_rows  # needs no pyspark\n"
        "from include.ratchet.features.spark.session import open_application\n"
        "try:\n    open_application('local[1]')\n"
        "except BackendUnavailableError as error:\n    print(json.dumps(str(error)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert "pyspark cannot be imported" in said
    assert "Add pyspark>=4,<5 to requirements.txt, or set training.backend to duckdb." in said


def test_a_master_that_is_none_is_said(limits: Settings) -> None:
    program = (
        "from include.ratchet.errors import BackendUnavailableError\n"
        "from include.ratchet.features.spark.session import open_application\n"
        "try:\n    open_application('nowhere')\n"
        "except BackendUnavailableError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "does not start with RATCHET_SPARK_MASTER 'nowhere'" in done.stdout
    assert issubclass(BackendUnavailableError, ImportError)
