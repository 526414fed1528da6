"""From several words to one label: every rule, in time, against a plain oracle."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.annotations import Annotation
from include.ratchet.data.resolution import LABELLED_AT, resolve, settle_labels
from include.ratchet.spec.labels import AnnotationsSpec
from tests.include.ratchet.data.orders import write_model

START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = {
    "majority": AnnotationsSpec(rule="majority"),
    "two": AnnotationsSpec(rule="majority", min_labellers=2),
    "unanimous": AnnotationsSpec(rule="unanimous"),
    "latest": AnnotationsSpec(rule="latest"),
    "first_of": AnnotationsSpec(rule="first_of", order=("*@experts", "ana", "source")),
}


def at(hours):
    return START + timedelta(hours=hours)


def say(labeller, value, hours=0, *, is_review=False):
    return Annotation('["o1"]', labeller, at(hours), value, is_review=is_review)


def label(rule, *said):
    found = resolve(RULES[rule], said)
    return found.value, found.since


@pytest.mark.parametrize(
    ("rule", "said", "expected"),
    [
        ("majority", [say("ana", True), say("bo", True, 1), say("cy", False, 2)], (True, at(0))),
        ("majority", [say("ana", True), say("bo", False, 1)], (None, None)),
        ("majority", [say("ana", True), say("bo", False, 1), say("cy", False, 2)], (False, at(2))),
        ("majority", [], (None, None)),
        ("two", [say("ana", True)], (None, None)),
        ("two", [say("ana", True), say("bo", True, 3)], (True, at(3))),
        ("unanimous", [say("ana", True), say("bo", False, 1), say("bo", True, 2)], (True, at(2))),
        ("unanimous", [say("ana", True), say("bo", False, 1)], (None, None)),
        ("latest", [say("ana", True), say("bo", False, 1)], (False, at(1))),
        ("latest", [say("ana", True, 1), say("bo", False, 1)], (None, None)),
        ("first_of", [say("source", True), say("cy", False, 1)], (True, at(0))),
        ("first_of", [say("source", True), say("ana", False, 1)], (False, at(1))),
        ("first_of", [say("ana", True), say("x@experts", False, 1), say("y@experts", False, 2)], (False, at(1))),
        ("first_of", [say("ana", True), say("x@experts", False, 1), say("y@experts", True, 2)], (None, None)),
        ("first_of", [say("cy", True)], (None, None)),
        ("majority", [say("ana", True), say("ana", None, 1)], (None, None)),
        ("unanimous", [say("ana", True), say("bo", False, 1), say("bo", None, 2)], (True, at(2))),
        ("majority", [say("ana", True), say("bo", True), say("cy", False, 5, is_review=True)], (False, at(5))),
        ("two", [say("cy", False, 5, is_review=True)], (False, at(5))),
        ("majority", [say("cy", False, 5, is_review=True), say("ana", True, 6)], (False, at(5))),
        ("majority", [say("ana", True), say("cy", False, 5, is_review=True), say("cy", None, 6, is_review=True)],
         (True, at(6))),
        ("majority", [say("cy", False, 5, is_review=True), say("di", True, 7, is_review=True)], (True, at(7))),
    ],
)  # fmt: skip
def test_rule(rule, said, expected):
    assert label(rule, *said) == expected


def test_label_that_came_back_is_known_since_it_came_back():
    said = [say("ana", True), say("ana", False, 2), say("ana", True, 4)]
    assert label("latest", *said) == (True, at(4))
    assert label("latest", *said, say("bo", True, 6)) == (True, at(4))


def test_median_of_numbers():
    rule = AnnotationsSpec(rule="median")
    assert resolve(rule, [say("ana", 1.0), say("bo", 2.0), say("cy", 9.0, 1)]).value == 2.0
    first = AnnotationsSpec(rule="first_of", order=("ana", "*"))
    assert resolve(first, [say("bo", 2.0), say("cy", 9.0, 1)]).value == 5.5


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bo", "source", "x@experts"]),
        st.sampled_from(["cat", "dog", "eel", None]),
        st.integers(0, 6),
    ),
    max_size=8,
    unique_by=lambda word: (word[0], word[2]),
)


@given(WORDS, st.sampled_from(sorted(RULES)), st.randoms())
def test_order_of_arrival_does_not_matter(words, rule, random):
    said = [say(*word) for word in words]
    shuffled = list(said)
    random.shuffle(shuffled)
    assert resolve(RULES[rule], said) == resolve(RULES[rule], shuffled)


@given(WORDS, st.sampled_from(sorted(RULES)))
def test_label_and_time_are_those_of_a_plain_replay(words, rule):
    """At each hour everything that was said by then is settled anew, from nothing, by another hand."""
    said = [say(*word) for word in words]
    history = [_plain(rule, [one for one in words if one[2] <= hour]) for hour in range(7)]
    value = history[-1]
    since = next((hour for hour in range(7) if all(one == value for one in history[hour:])), None)
    assert label(rule, *said) == (value, None if value is None else at(since))


def _plain(rule, words):
    newest = {}
    for who, value, hour in sorted(words, key=lambda one: one[2]):
        newest[who] = (value, hour)
    voices = {who: one for who, one in newest.items() if one[0] is not None}
    if len(voices) < (2 if rule == "two" else 1):
        return None
    values = [value for value, _ in voices.values()]
    if rule == "first_of":
        ranks = [[w for w in voices if w.endswith("@experts")], [w for w in voices if w == "ana"],
                 [w for w in voices if w == "source"]]  # fmt: skip
        values = next(([voices[who][0] for who in rank] for rank in ranks if rank), [])
    if rule == "latest":
        last = max(hour for _, hour in voices.values())
        values = [value for value, hour in voices.values() if hour == last]
    if rule in ("latest", "unanimous"):
        return values[0] if len(set(values)) == 1 else None
    modes = statistics.multimode(values)
    assert not values or Counter(values)[modes[0]] == max(Counter(values).values())
    return modes[0] if len(modes) == 1 else None


def rows(**columns):
    return pa.table({
        "order_id": ["o1", "o2", "o3"],
        "placed_at": pa.array([at(0)] * 3, pa.timestamp("us", "UTC")),
        "is_returned": pa.array([True, False, None], pa.bool_()),
        "settled_at": pa.array([at(30), at(30), None], pa.timestamp("us", "UTC")),
        **columns,
    })  # fmt: skip


def make_model(tmp_path, **annotations):
    changes = {"label": {"column": "is_returned", "available_time": "settled_at", "annotations": annotations}}
    return write_model(tmp_path, changes)


def test_rows_that_nobody_annotated_stay_as_they_are(tmp_path):
    found = settle_labels(make_model(tmp_path, rule="majority"), rows(), [], at(99))
    assert found["is_returned"].to_pylist() == [True, False, None]
    assert found[LABELLED_AT].to_pylist() == [at(30), at(30), None]


def test_annotated_rows_get_their_label_and_its_time(tmp_path):
    model = make_model(tmp_path, rule="latest")
    said = [Annotation('["o1"]', "ana", at(40), False), Annotation('["o3"]', "ana", at(50), True)]
    found = settle_labels(model, rows(), said, at(99))
    assert found["is_returned"].to_pylist() == [False, False, True]
    assert found[LABELLED_AT].to_pylist() == [at(40), at(30), at(50)]
    assert found["settled_at"].to_pylist() == rows()["settled_at"].to_pylist()


def test_source_does_not_count_before_its_label_was_available(tmp_path):
    model = make_model(tmp_path, rule="majority")
    said = [Annotation('["o1"]', "ana", at(10), False)]
    assert settle_labels(model, rows(), said, at(20))["is_returned"].to_pylist()[0] is False
    assert settle_labels(model, rows(), said, at(99))["is_returned"].to_pylist()[0] is None


@pytest.mark.parametrize(
    "annotations", [{"rule": "majority", "min_labellers": 2}, {"rule": "first_of", "order": ["ana"]}]
)
def test_rule_that_the_source_alone_does_not_satisfy_leaves_its_rows_without_a_label(tmp_path, annotations):
    found = settle_labels(make_model(tmp_path, **annotations), rows(), [], at(99))
    assert found["is_returned"].to_pylist() == [None] * 3


def test_table_without_the_label_column_gets_one(tmp_path):
    model = make_model(tmp_path, rule="majority")
    bare = rows().drop_columns(["is_returned", "settled_at"])
    found = settle_labels(model, bare, [Annotation('["o2"]', "ana", at(5), True)], at(99))
    assert found["is_returned"].to_pylist() == [None, True, None]
    assert found[LABELLED_AT].to_pylist() == [None, at(5), None]
