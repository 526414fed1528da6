from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.ratchet.errors import RowCountError, SchemaChangedError, SpecError
from include.ratchet.features import Inputs, Scorer, context_names, feature_names, scoring_rows, training_rows
from include.ratchet.spec import ModelKey
from tests.include.ratchet.features.rides import (
    HEAD,
    KEY,
    SPEC,
    History,
    make_inputs,
    make_model,
    make_settings,
    minute,
    steady_rides,
)

EVENING = minute(1000)


def one_ride(**columns: object) -> History:
    ride = {"ride_id": "r", "at": minute(10), "zone": "north", "driver": "ann", "seats": 2, "fare": 1.5,
            "is_late": True, "done_at": minute(20), **columns}  # fmt: skip
    return {"rides": [ride], "rain": [], "posts": [], "zones": []}


def test_columns_come_in_order_and_in_four_types(tmp_path: Path) -> None:
    model = make_model(tmp_path)
    rows = training_rows(
        model, KEY, make_inputs(steady_rides()), as_of=EVENING, window_start=None, settings=make_settings(tmp_path)
    )
    leading = ["ride_id", "at", "_prediction_time", "_label_available_time", "is_late"]
    assert rows.column_names == [*leading, *feature_names(model)]
    assert {rows.schema.field(name).type for name in feature_names(model)} <= {
        pa.float64(), pa.int64(), pa.bool_(), pa.string()
    }  # fmt: skip
    times = [rows.schema.field(name).type for name in leading[1:4]]
    assert times == [pa.timestamp("us", "UTC")] * 3
    assert rows["_prediction_time"][0].as_py() == rows["at"][0].as_py() - timedelta(minutes=10)


def test_slices_and_baselines_keep_their_columns_beside_the_features(tmp_path: Path) -> None:
    spec = SPEC + "evaluation: {slices: [zone], sensitive: [driver]}\ntraining: {baselines: [{rate: [zone, seats]}]}\n"
    model = make_model(tmp_path, spec=spec)
    assert context_names(model) == ("driver", "seats")  # the zone is a feature
    rows = training_rows(
        model, KEY, make_inputs(steady_rides()), as_of=EVENING, window_start=None, settings=make_settings(tmp_path)
    )
    assert rows.column_names[5:8] == ["driver", "seats", "zone"]
    assert set(rows["driver"].to_pylist()) == {"ann", "bob"}


def test_a_slice_that_is_nowhere_is_named(tmp_path: Path) -> None:
    model = make_model(tmp_path, spec=SPEC + "evaluation: {slices: [colour]}\n")
    with pytest.raises(SpecError, match="'colour' of slices, sensitive or baselines is neither a feature nor"):
        feature_names(model)


@pytest.mark.parametrize(
    ("as_of", "start", "is_taken"),
    [
        (minute(20), None, False),  # known at the very instant is not known yet
        (minute(20) + timedelta(microseconds=1), None, True),
        (EVENING, minute(10), True),
        (EVENING, minute(10) + timedelta(microseconds=1), False),
        (minute(10), None, False),
    ],
)
def test_a_row_is_taken_once_its_label_was_known_before(
    as_of: datetime, start: datetime | None, is_taken: bool, tmp_path: Path
) -> None:
    model, inputs = make_model(tmp_path), make_inputs(one_ride())
    rows = training_rows(model, KEY, inputs, as_of=as_of, window_start=start, settings=make_settings(tmp_path))
    assert rows.num_rows == int(is_taken)


@pytest.mark.parametrize("missing", [{"is_late": None}, {"done_at": None}])
def test_a_row_without_label_or_its_time_is_left_out(missing: dict[str, None], tmp_path: Path) -> None:
    model, inputs = make_model(tmp_path), make_inputs(one_ride(**missing))
    rows = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=make_settings(tmp_path))
    assert rows.num_rows == 0
    assert "zone_late_1h" in rows.column_names


def test_an_entity_without_history_keeps_its_row_with_nulls(tmp_path: Path) -> None:
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    only = make_inputs(one_ride())
    for inputs in (only, Inputs({"rides": only.tables["rides"]})):  # tables empty, and not landed at all
        (row,) = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits).to_pylist()
        assert row["zone_rides_1h"] == 0
        unknown = ["size", "rain_mm", "post_score", "post_age", "last_fare", "zone_late_1h", "zone_fare_sum_3h"]
        assert [row[name] for name in unknown] == [None] * len(unknown)


def test_threads_and_order_of_landing_change_nothing(tmp_path: Path) -> None:
    model, history = make_model(tmp_path), steady_rides(400)
    frames = []
    for threads, rides in ((1, history["rides"]), (2, history["rides"][::-1])):
        limits = replace(make_settings(tmp_path), duckdb_threads=threads)
        inputs = make_inputs({**history, "rides": rides})
        frames.append(training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits))
    assert frames[0].num_rows == 400
    assert frames[0].equals(frames[1])


def test_batch_and_single_rows_agree_bit_for_bit(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides())
    trained = training_rows(model, KEY, inputs, as_of=EVENING, window_start=None, settings=limits)
    with Scorer(model, KEY, inputs, settings=limits) as scorer:
        for row in range(0, 120, 7):
            single = scorer.score(inputs.tables["rides"].slice(row, 1))
            assert single.equals(trained.slice(row, 1).select(single.column_names))


def test_a_lookup_that_multiplies_rows_is_stopped_and_named(tmp_path: Path) -> None:
    history = steady_rides(4)
    history["zones"] = [{"zone": "north", "size": 1}, {"zone": "north", "size": 2}]
    with pytest.raises(RowCountError, match=r"lookup of zones by zone\): multiplied rows: 4 in, 6 out"):
        training_rows(
            make_model(tmp_path), KEY, make_inputs(history), as_of=EVENING, window_start=None,
            settings=make_settings(tmp_path),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("rows.join(t.history.filter(_.fare > 1), 'ride_id').select('_row', 'fare')", "lost rows: 4 in, 2 out"),
        ("rows.left_join(t.history, 'zone').select('_row', 'fare')", "multiplied rows: 4 in, 8 out"),
    ],
)
def test_a_query_that_loses_or_multiplies_rows_is_stopped(build: str, said: str, tmp_path: Path) -> None:
    code = f"{HEAD}def features(t):\n    return Features(x=query(lambda rows: {build}).fare)\n"
    with pytest.raises(RowCountError, match=rf"join_0 \(query\): {said}"):
        training_rows(
            make_model(tmp_path, code), KEY, make_inputs(steady_rides(4)), as_of=EVENING, window_start=None,
            settings=make_settings(tmp_path),
        )  # fmt: skip


def test_rows_to_score_need_what_must_not_be_null(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides(9))
    rides = inputs.tables["rides"]
    least = scoring_rows(model, KEY, inputs, rides.select(["at", "ride_id"]), settings=limits)
    assert least["zone"].null_count == 9
    with pytest.raises(SchemaChangedError, match="expected at too"):
        scoring_rows(model, KEY, inputs, rides.drop_columns(["at"]), settings=limits)
    naive = rides.set_column(1, "at", rides["at"].cast(pa.timestamp("us")))
    with pytest.raises(SchemaChangedError, match="column at has times without a zone"):
        scoring_rows(model, KEY, inputs, naive, settings=limits)
    wrong = rides.set_column(4, "seats", pa.array(["many"] * 9))
    with pytest.raises(SchemaChangedError, match="column seats is string; expected int64"):
        scoring_rows(model, KEY, inputs, wrong, settings=limits)


def test_other_types_of_the_same_meaning_are_read(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides(9))
    rides = inputs.tables["rides"]
    odd = rides.set_column(1, "at", rides["at"].cast(pa.timestamp("ns", "America/New_York")))
    odd = odd.set_column(4, "seats", rides["seats"].cast(pa.int8()))
    assert scoring_rows(model, KEY, inputs, odd, settings=limits).equals(
        scoring_rows(model, KEY, inputs, rides, settings=limits)
    )


def test_a_segment_of_a_model_without_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="found segment 'north'"):
        training_rows(
            make_model(tmp_path), ModelKey("rides", "north"), Inputs({}), as_of=EVENING, window_start=None,
            settings=make_settings(tmp_path),
        )  # fmt: skip


def test_an_instant_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2024-03-01T00:00:00 has no time zone"):
        training_rows(
            make_model(tmp_path), KEY, Inputs({}), as_of=datetime(2024, 3, 1), window_start=None,
            settings=make_settings(tmp_path),
        )  # fmt: skip
