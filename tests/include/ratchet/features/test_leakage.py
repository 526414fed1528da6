from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from include.ratchet.errors import LeakageError, SpecError
from include.ratchet.features import check_leakage, feature_names, scoring_rows, training_rows
from include.ratchet.features.perturbation import perturb_inputs
from tests.include.ratchet.features.rides import (
    HEAD,
    KEY,
    START,
    History,
    histories,
    make_inputs,
    make_model,
    make_settings,
    minute,
    steady_rides,
)

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(history=histories(), instant=st.integers(0, 45).map(minute))
def test_no_feature_moves_with_what_became_known_later(history: History, instant: object, tmp_path: Path) -> None:
    """Changed, gone or new: nothing known at or after an instant moves a feature of a row predicted by then."""
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    asked = [row for row in history["rides"] if row["at"] - timedelta(minutes=10) <= instant]  # type: ignore[operator]
    assume(asked)
    rows = make_inputs({"rides": asked}).tables["rides"]
    changed, count = perturb_inputs(model, inputs, instant, settings=limits)  # type: ignore[arg-type]
    assert count > 0
    before = scoring_rows(model, KEY, inputs, rows, settings=limits)
    assert before.equals(scoring_rows(model, KEY, changed, rows, settings=limits))


@quick
@given(history=histories(), as_of=st.integers(0, 45).map(minute))
def test_no_training_row_moves_with_what_became_known_later(history: History, as_of: object, tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    changed, _ = perturb_inputs(model, inputs, as_of, settings=limits)  # type: ignore[arg-type]
    both = [
        training_rows(model, KEY, one, as_of=as_of, window_start=None, settings=limits)  # type: ignore[arg-type]
        for one in (inputs, changed)
    ]
    assert both[0].equals(both[1])


def test_a_sound_definition_passes_and_the_report_says_what_was_tried(tmp_path: Path) -> None:
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    report = check_leakage(model, make_inputs(steady_rides()), as_of=minute(110), settings=limits)
    assert report.features == feature_names(model)
    assert len(report.instants) == 3
    assert report.rows_compared > 100
    assert report.rows_changed > 500


LEAKY = {
    "the row's own outcome": (
        "    own = query(lambda rows: rows.left_join(t.history, 'ride_id').select('_row', 'fare'))\n"
        "    return Features(zone=t.rows.zone, leak=own.fare)"
    ),
    "a rate over all time": (
        "    rate = t.history.group_by('zone').agg(rate=_.is_late.mean())\n"
        "    return Features(zone=t.rows.zone, leak=lookup(rate, on='zone').rate)"
    ),
    "an observation before it is known": (
        "    rain = t.rain.mutate(_available_time=_.seen_at)\n"
        "    return Features(zone=t.rows.zone, leak=latest(rain, on='zone').mm)"
    ),
    "an outcome from the start of the ride": (
        "    past = t.history.mutate(_available_time=_.at)\n"
        "    return Features(zone=t.rows.zone, leak=rolling(past, by='zone', over='2h').mean('is_late'))"
    ),
    "rows known at the very prediction time": (
        "    past = t.history.mutate(_available_time=_._available_time - __import__('ibis').interval(microseconds=1))\n"
        "    return Features(zone=t.rows.zone, leak=rolling(past, by='zone', over='2h').count())"
    ),
    "how many rides are to come": (
        "    past = t.history.select('zone', landed=_.done_at)\n"
        "    later = query(lambda rows: rows.left_join(past, 'zone').group_by('_row').agg(n=_.landed.count()))\n"
        "    return Features(zone=t.rows.zone, leak=later.n)"
    ),
}


@pytest.mark.parametrize("body", LEAKY.values(), ids=LEAKY)
def test_a_leaky_feature_is_caught(body: str, tmp_path: Path) -> None:
    model = make_model(tmp_path, f"{HEAD}def features(t):\n{body}\n")
    inputs = make_inputs(steady_rides())
    with pytest.raises(LeakageError, match=r"features\.py: 'leak' moved .* row ride_id='r\d+', predicted at 2024-0"):
        check_leakage(model, inputs, as_of=minute(110), settings=make_settings(tmp_path))


@pytest.mark.parametrize("column", ["is_late", "fare", "done_at"])
def test_label_and_outcomes_of_the_row_itself_are_not_there(column: str, tmp_path: Path) -> None:
    model = make_model(tmp_path, f"{HEAD}def features(t):\n    return Features(leak=t.rows.{column})\n")
    with pytest.raises(SpecError, match=f"rows.{column}: known only with the label"):
        feature_names(model)


def test_the_other_future_differs_from_the_instant_on_and_only_then(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides())
    since = minute(60)
    changed, _ = perturb_inputs(model, inputs, since, settings=limits)
    before = {row["ride_id"]: row for row in inputs.tables["rides"].to_pylist()}
    after = {row["ride_id"]: row for row in changed.tables["rides"].to_pylist()}
    known = {key for key, row in before.items() if row["done_at"] < since}
    assert {key: after[key] for key in known} == {key: before[key] for key in known}
    asked = {key for key, row in before.items() if row["at"] - timedelta(minutes=10) < since} - known
    assert asked
    for key in asked:
        assert after[key]["seats"] == before[key]["seats"]
        assert after[key]["is_late"] is not before[key]["is_late"]
    assert min(row["done_at"] for key, row in after.items() if key not in before) == since
    assert changed.tables["zones"] is inputs.tables["zones"]
    assert since > START
