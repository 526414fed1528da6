"""Features over labels that people gave: those of a table that had these labels, with these times, all along."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from include.ratchet.data.annotations import Annotation
from include.ratchet.data.resolution import LABELLED_AT, settle_labels
from include.ratchet.errors import SchemaChangedError
from include.ratchet.features import Inputs, check_leakage, feature_query, known_columns, scoring_rows, training_rows
from include.ratchet.features.perturbation import perturb_inputs
from tests.include.ratchet.features.rides import (
    KEY,
    SPEC,
    histories,
    make_inputs,
    make_model,
    make_settings,
    minute,
    steady_rides,
)

ANNOTATED = SPEC.replace("outcomes: [fare]}", "outcomes: [fare], annotations: {rule: latest}}")
WORDS = st.lists(
    st.tuples(st.integers(0, 24), st.sampled_from(["ann", "bob"]), st.integers(0, 45), st.sampled_from([True, False])),
    max_size=12, unique_by=lambda word: word[:3],
)  # fmt: skip
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def said(words, until):
    found = [Annotation(f'["r{ride:03d}"]', who, minute(at), label) for ride, who, at, label in words]
    return [one for one in found if one.annotated_at < until]


def settled(model, inputs, words, as_of):
    rides = settle_labels(model, inputs.tables["rides"], said(words, as_of), as_of)
    return Inputs({**inputs.tables, "rides": rides})


@quick
@given(history=histories(), words=WORDS, as_of=st.integers(5, 45).map(minute))
def test_settled_labels_are_as_good_as_landed_ones(history, words, as_of, tmp_path):
    """Another model, without annotations, whose table landed with the settled labels, learns from the same rows."""
    limits = make_settings(tmp_path)
    model, plain = make_model(tmp_path / "a", spec=ANNOTATED), make_model(tmp_path / "b")
    inputs = settled(model, make_inputs(history), words, as_of)
    rides = inputs.tables["rides"]
    landed = rides.drop_columns([LABELLED_AT]).set_column(
        rides.column_names.index("done_at"), "done_at", rides[LABELLED_AT]
    )
    found = training_rows(model, KEY, inputs, as_of=as_of, window_start=None, settings=limits)
    expected = Inputs({**inputs.tables, "rides": landed})
    assert found.equals(training_rows(plain, KEY, expected, as_of=as_of, window_start=None, settings=limits))


@quick
@given(history=histories(), words=WORDS, instant=st.integers(0, 45).map(minute))
def test_no_feature_moves_with_a_label_that_was_settled_later(history, words, instant, tmp_path):
    model, limits = make_model(tmp_path, spec=ANNOTATED), make_settings(tmp_path)
    asked = [row for row in history["rides"] if row["at"] - timedelta(minutes=10) <= instant]
    assume(asked)
    rows = make_inputs({"rides": asked}).tables["rides"]
    inputs = settled(model, make_inputs(history), words, minute(60))
    changed, _ = perturb_inputs(model, inputs, instant, settings=limits)
    before = scoring_rows(model, KEY, inputs, rows, settings=limits)
    assert before.equals(scoring_rows(model, KEY, changed, rows, settings=limits))


def test_leakage_check_passes_on_annotated_rows(tmp_path):
    model = make_model(tmp_path, spec=ANNOTATED)
    inputs = settled(model, make_inputs(steady_rides()), [(3, "ann", 70, True), (9, "bob", 80, False)], minute(110))
    assert check_leakage(model, inputs, as_of=minute(110), settings=make_settings(tmp_path)).rows_compared > 100


def test_time_of_the_label_is_not_known_when_the_model_predicts(tmp_path):
    model = make_model(tmp_path, spec=ANNOTATED)
    assert LABELLED_AT not in known_columns(model)
    with pytest.raises(SchemaChangedError, match=LABELLED_AT):
        training_rows(
            model,
            KEY,
            make_inputs(steady_rides()),
            as_of=minute(9),
            window_start=None,
            settings=make_settings(tmp_path),
        )


def test_rule_is_part_of_what_a_snapshot_is_asked_by(tmp_path):
    plain, latest = make_model(tmp_path / "a"), make_model(tmp_path / "b", spec=ANNOTATED)
    other = make_model(tmp_path / "c", spec=ANNOTATED.replace("rule: latest", "rule: majority"))
    more = make_model(tmp_path / "d", spec=ANNOTATED.replace("latest}", "latest, review: {max_rows: 7}}"))
    assert len({feature_query(one) for one in (plain, latest, other)}) == 3
    assert feature_query(more) == feature_query(latest)
