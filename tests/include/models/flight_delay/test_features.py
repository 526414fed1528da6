"""Flights' features on two months of real flights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.features import (
    Inputs,
    OnlineScorer,
    Scorer,
    build_histories,
    check_leakage,
    feature_names,
    training_rows,
)
from include.ratchet.settings import PROJECT, Settings, read_settings
from include.ratchet.spec import Model, ModelKey, Partition, get_model
from include.ratchet.spec.modules import load_function

KEY = ModelKey("flight_delay")
START, END = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 1, 5, tzinfo=UTC)
OUTCOMES = ["departure_delay", "arrival_delay", "air_minutes", "is_cancelled", "is_late", "landed_at"]


@pytest.fixture(scope="module")
def model() -> Model:
    return get_model(PROJECT / "include" / "models", "flight_delay")


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings({"RATCHET_HOME": str(tmp_path_factory.mktemp("home"))})


@pytest.fixture(scope="module")
def inputs(model: Model) -> Inputs:
    months = Partition("two months", START, END)
    names = {"flight_delay": "flights", "weather": "weather", "planes": "planes"}
    return Inputs({name: load_function(model, "sources.py", source)(months, END) for name, source in names.items()})


@pytest.fixture(scope="module")
def trained(model: Model, inputs: Inputs, limits: Settings) -> pa.Table:
    return training_rows(model, KEY, inputs, as_of=END, window_start=None, settings=limits)


@pytest.fixture(scope="module")
def scorer(model: Model, inputs: Inputs, limits: Settings) -> Iterator[Scorer]:
    with Scorer(model, KEY, inputs, settings=limits) as scorer:
        yield scorer


def test_a_thousand_single_flights_equal_the_batch_bit_for_bit(
    trained: pa.Table, inputs: Inputs, scorer: Scorer
) -> None:
    flights = inputs.tables["flight_delay"]
    places = np.sort(np.random.default_rng(20130101).choice(trained.num_rows, 1000, replace=False))
    batch = trained.take(pa.array(places))
    asked = flights.take(pc.index_in(batch["flight_id"], flights["flight_id"])).drop_columns(OUTCOMES)
    single = pa.concat_tables([scorer.score(asked.slice(row, 1)) for row in range(1000)])
    assert single.num_rows == 1000
    for name in single.column_names:
        assert _bits(single[name]) == _bits(batch[name]), name


def test_a_thousand_online_flights_equal_the_batch_bit_for_bit(
    model: Model, inputs: Inputs, limits: Settings, trained: pa.Table
) -> None:
    """Out of histories that hold only what can still matter, for prediction times up to what they know."""
    known_until = datetime(2013, 2, 20, 5, tzinfo=UTC)
    histories = build_histories(model, inputs, known_until, settings=limits)
    times = trained["_prediction_time"]
    reached = pc.and_(
        pc.greater_equal(times, pa.scalar(histories.reach_from, times.type)),
        pc.less_equal(times, pa.scalar(known_until, times.type)),
    )
    near = trained.filter(reached)
    places = np.sort(np.random.default_rng(20130220).choice(near.num_rows, 1000, replace=False))
    batch = near.take(pa.array(places))
    flights = inputs.tables["flight_delay"]
    asked = flights.take(pc.index_in(batch["flight_id"], flights["flight_id"])).drop_columns(OUTCOMES)
    with OnlineScorer(model, histories, settings=limits) as scorer:
        online = pa.concat_tables([scorer.score(asked.slice(start, 7)) for start in range(0, 1000, 7)])
    for name in online.column_names:
        assert _bits(online[name]) == _bits(batch[name]), name
    held = {name: rows.num_rows for name, rows in histories.rows.items()}
    assert max(held.values()) < flights.num_rows


def _bits(column: pa.ChunkedArray) -> list[object]:
    """Values as they are stored, so that 0.0 and -0.0, or two kinds of NaN, would differ."""
    if pa.types.is_floating(column.type):
        return [None if value is None else value.hex() for value in column.to_pylist()]
    return column.to_pylist()  # type: ignore[no-any-return]


def test_one_thread_gives_what_two_give(model: Model, inputs: Inputs, limits: Settings, trained: pa.Table) -> None:
    one = replace(limits, duckdb_threads=1)
    assert training_rows(model, KEY, inputs, as_of=END, window_start=None, settings=one).equals(trained)


def test_an_earlier_as_of_gives_the_same_rows_but_fewer(
    model: Model, inputs: Inputs, limits: Settings, trained: pa.Table
) -> None:
    """What was known on the first of February does not depend on how much has been landed since."""
    as_of = datetime(2013, 2, 1, tzinfo=UTC)
    then = training_rows(model, KEY, inputs, as_of=as_of, window_start=None, settings=limits)
    assert then.equals(trained.filter(pc.less(trained["_label_available_time"], pa.scalar(as_of))).combine_chunks())
    assert 20_000 < then.num_rows < trained.num_rows


def test_no_feature_sees_the_future(model: Model, inputs: Inputs, limits: Settings) -> None:
    report = check_leakage(model, inputs, as_of=datetime(2013, 2, 20, tzinfo=UTC), settings=limits, instants=2)
    assert report.features == feature_names(model)
    assert report.rows_changed > 30_000
    assert report.rows_compared > 30_000


def test_a_flight_checked_by_hand(trained: pa.Table, inputs: Inputs) -> None:
    """Rates, the previous leg and the weather of one flight, counted out of the raw rows."""
    flight = trained.slice(30_000, 1).to_pylist()[0]
    moment = flight["scheduled_departure"] - timedelta(hours=2)
    rows = inputs.tables["flight_delay"].to_pylist()
    source = next(row for row in rows if row["flight_id"] == flight["flight_id"])
    known = [row for row in rows if row["landed_at"] is not None and row["landed_at"] < moment]
    landed = [row for row in known if row["is_late"] is not None]
    week = [row for row in landed if row["landed_at"] >= moment - timedelta(days=7)]
    like = [row for row in week if row["carrier"] == source["carrier"]]
    assert flight["carrier_late_rate_7d"] == sum(row["is_late"] for row in like) / len(like)
    assert flight["carrier_delay_minutes_7d"] == sum(row["arrival_delay"] for row in like) / len(like)
    hour = [
        row for row in week if (row["origin"], row["scheduled_hour"]) == (source["origin"], source["scheduled_hour"])
    ]
    assert flight["origin_hour_late_rate_7d"] == sum(row["is_late"] for row in hour) / len(hour)
    legs = [row for row in known if row["tail_number"] == source["tail_number"]]
    leg = max(legs, key=lambda row: row["scheduled_departure"])
    assert flight["previous_delay_minutes"] == leg["arrival_delay"]
    assert flight["previous_landed_minutes"] == (moment - leg["landed_at"]).total_seconds() / 60
    sky = [row for row in inputs.tables["weather"].to_pylist() if row["origin"] == source["origin"]]
    newest = max((row for row in sky if row["observed_at"] < moment), key=lambda row: row["observed_at"])
    assert flight["wind_mph"] == newest["wind_mph"]


def test_local_time_is_new_yorks(trained: pa.Table) -> None:
    rows = trained.to_pandas()
    local = rows["scheduled_departure"].dt.tz_convert("America/New_York")
    assert (rows["scheduled_minute"] == local.dt.hour * 60 + local.dt.minute).all()
    assert (rows["scheduled_minute"] // 60 == rows["scheduled_hour"]).all()
    assert (rows["weekday"] == local.dt.weekday).all()
    assert (rows["month"] == local.dt.month).all()


def test_features_know_something_of_delays(trained: pa.Table) -> None:
    """A month learnt, a month judged: well above chance, and not so good that something must be wrong."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rows = trained.to_pandas()
    numbers = [name for name in rows.columns[5:] if rows[name].dtype != object]
    past = rows["_label_available_time"] < datetime(2013, 2, 1, tzinfo=UTC)
    later = rows["_prediction_time"] >= datetime(2013, 2, 1, tzinfo=UTC)
    fitted = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(
        rows.loc[past, numbers].astype(float), rows.loc[past, "is_late"]
    )
    auc = roc_auc_score(rows.loc[later, "is_late"], fitted.predict_proba(rows.loc[later, numbers].astype(float))[:, 1])
    assert 0.6 < auc < 0.9
