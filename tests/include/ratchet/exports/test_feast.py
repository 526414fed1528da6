"""What is written for Feast: its join over our files, done by hand, gives our features; the file is Python."""

from __future__ import annotations

import ast
from datetime import UTC, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from include.ratchet.data.tables import Table
from include.ratchet.errors import ExportError
from include.ratchet.exports.feast import TIME, explain_absence, plan_views, select_rows, write_repository
from include.ratchet.features import scoring_rows
from include.ratchet.features.definition import compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.inputs import read_versions
from tests.include.ratchet.features.rides import (
    HEAD,
    KEY,
    LEAD,
    SCHEMAS,
    histories,
    make_inputs,
    make_model,
    make_settings,
    steady_rides,
)

EXPRESSIBLE = {"size", "rain_mm"}


def join_as_feast(rows, ride, keys):
    """Feast's point-in-time join: of the rows of an entity that are no later than asked, the latest.

    Source: Feast's documentation, "Point-in-time joins"; a `ttl` of zero has no lower end.
    """
    moment = (ride["at"] - LEAD).astimezone(UTC).replace(tzinfo=None)
    fitting = [row for row in rows if row[TIME] <= moment and all(row[key] == ride[key] for key in keys)]
    return max(fitting, key=lambda row: row[TIME], default={})


@given(history=histories())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_feasts_join_over_our_files_gives_our_features(tmp_path, history):
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    definition = define(model)
    rides = pa.Table.from_pylist(history["rides"], schema=SCHEMAS["rides"])
    ours = scoring_rows(model, KEY, inputs, rides, settings=limits).to_pylist()
    names = [name for name in definition.features if explain_absence(definition, name) is None]
    assert set(names) == EXPRESSIBLE
    with Engine(limits) as engine:
        engine.bind_inputs(model, inputs)
        for view in plan_views(definition, names):
            rows = engine.fetch(compile_sql(select_rows(view))).to_pylist()
            for ride, expected in zip(history["rides"], ours, strict=True):
                found = join_as_feast(rows, ride, view.keys.values())
                assert {name: found.get(name) for name in view.features} == {
                    name: expected[name] for name in view.features
                }


def land(model, limits):
    for name, rows in steady_rides().items():
        columns = pa.Table.from_pylist(list(rows), schema=SCHEMAS[name])
        keyed = columns.append_column("_partition", pa.array(["2024-03-01"] * columns.num_rows))
        Table(limits, model.name, name).commit(None, keyed, ["2024-03-01"], {}, {})


def test_repository_is_python_and_says_what_is_missing_and_why(tmp_path):
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    land(model, limits)
    assert set(read_versions(limits, model)) == set(SCHEMAS)
    written = write_repository(model, tmp_path / "repo", limits)
    assert {name for names in written.views.values() for name in names} == EXPRESSIBLE
    assert written.rows == {"rain_by_zone": len(steady_rides()["rain"]), "zones_by_zone": 1}
    assert EXPRESSIBLE | set(written.left_out) == set(define(model).features)
    reasons = written.left_out
    assert "rolling" in reasons["zone_late_1h"]
    assert "another order" in reasons["post_score"]
    assert "another order" in reasons["last_fare"], "a previous row is the newest by event time"
    assert "computed" in reasons["post_age"]
    assert "row that is predicted alone" in reasons["zone"]
    text = (tmp_path / "repo/features.py").read_text()
    tree = ast.parse(text)
    assert all(f"{name}" in ast.get_docstring(tree) for name in reasons)
    calls = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert (calls.count("FeatureView"), calls.count("Entity"), calls.count("FeatureService")) == (2, 1, 1)
    rain = pq.read_table(tmp_path / "repo/data/rain_by_zone.parquet")
    assert rain.column_names == ["zone", "rain_mm", TIME]


def test_a_second_export_brings_newer_rows_and_keeps_what_others_wrote(tmp_path):
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    first = write_repository(model, tmp_path / "repo", limits)
    assert set(first.rows.values()) == {0}, "nothing has landed yet"
    land(model, limits)
    assert write_repository(model, tmp_path / "repo", limits).rows["rain_by_zone"] > 0
    (tmp_path / "repo/features.py").write_text("mine = 1\n")
    with pytest.raises(ExportError, match="other content; expected none"):
        write_repository(model, tmp_path / "repo", limits)
    assert (tmp_path / "repo/features.py").read_text() == "mine = 1\n"


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="expected a folder that can be written to"):
        write_repository(model, tmp_path / "file/repo", limits)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ('latest(t.rain, on={"zone": "zone"}).mm', None),
        ("latest(t.rain.filter(_.mm > 3), on='zone').mm", None),
        ('latest(t.rain, on=_.zone + "?").mm', "a key of its join is computed"),
        ("latest(t.rain, on='zone').mm + 1", "computed from a joined column"),
        ("query(lambda rows: rows.select('_row', n=rows.seats)).n", "query of the model's own"),
    ],
)
def test_why_a_feature_is_there_or_not(tmp_path, expression, why):
    model = make_model(tmp_path, HEAD + f"def features(t):\n    return Features(one={expression})\n")
    found = explain_absence(define(model), "one")
    assert found is None if why is None else why in found


def test_of_rows_of_one_instant_the_newest_is_written(tmp_path):
    features = HEAD + "def features(t):\n    return Features(mm=latest(t.rain.filter(_.mm > 0), on='zone').mm)\n"
    model, limits = make_model(tmp_path, features), make_settings(tmp_path)
    (view,) = plan_views(define(model), ["mm"])
    with Engine(limits) as engine:
        engine.bind_inputs(model, make_inputs(steady_rides()))
        rows = engine.fetch(compile_sql(select_rows(view))).to_pylist()
    rain = [row for row in steady_rides()["rain"] if row["mm"] > 0]
    late = timedelta(minutes=5, microseconds=1)
    assert [(row["zone"], row["mm"], row[TIME]) for row in rows] == [
        (row["zone"], row["mm"], (row["seen_at"] + late).replace(tzinfo=None)) for row in rain
    ]
