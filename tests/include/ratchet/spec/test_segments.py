"""Names of segments, keys and slugs, and what a spec may divide by."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.ratchet.data.segments import part_of, segments_of
from include.ratchet.errors import SpecError
from include.ratchet.spec import WHOLE, ModelKey, load_model, segment_name

VALUES = st.one_of(st.text(max_size=400), st.integers(), st.booleans())
HOSTILE = [
    "a/b",
    "a~1b",
    "all",
    "~all",
    "",
    "~",
    "it's",
    '"',
    "🛫",
    "x" * 300,
    "x" * 301,
    "EWR-IAH",
    "é",
    " ",
    "\n",
    "\0",
]
SPEC = """
name: flights
owner: operations
description: Which flights will be late?
task: binary
source: {python: rows}
keys: [id]
event_time: at
label: {column: late, outcomes: [delay]}
columns:
  id: {type: string}
  carrier: {type: string}
  hour: {type: integer}
  distance: {type: float}
  delay: {type: integer}
"""


@given(st.lists(VALUES, min_size=2, max_size=2), st.lists(VALUES, min_size=2, max_size=2))
@example(["a/b", "c"], ["a", "b/c"])
@example(["~1", "x"], ["/", "x"])
def test_two_segments_never_share_a_name(one: list[object], other: list[object]) -> None:
    shown = [[str(value).lower() if isinstance(value, bool) else str(value) for value in values]
             for values in (one, other)]  # fmt: skip
    assert (segment_name(one) == segment_name(other)) == (shown[0] == shown[1])


@pytest.mark.parametrize("value", HOSTILE)
def test_a_name_fits_the_database_and_is_never_the_pools(value: str) -> None:
    name = segment_name([value])
    assert name != WHOLE
    assert 1 <= len(name) <= 300


def test_slugs_are_safe_readable_and_differ() -> None:
    slugs = [ModelKey("m", segment_name([value])).slug for value in HOSTILE]
    assert len(set(slugs)) == len(HOSTILE)
    assert all(re.fullmatch(r"m\.[A-Za-z0-9_.-]{1,100}", slug) for slug in slugs)
    assert ModelKey("m", "EWR/IAH").slug.startswith("m.EWR-IAH.")
    assert ModelKey("m").slug == "m"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_key_is_read_back_as_it_is_written(value: str) -> None:
    key = ModelKey("m", segment_name([value]))
    assert ModelKey.parse(str(key)) == key
    assert not key.is_pool
    assert key.pool == ModelKey.parse("m")


def test_rows_find_their_segment_and_those_without_a_value_the_pool() -> None:
    table = pa.table({"a": ["UA", None, "UA", "x/y", "all"], "b": [1, 2, 1, None, 3]})
    assert segments_of(table, ["a"]).to_pylist() == ["UA", WHOLE, "UA", "x~1y", "~all"]
    assert segments_of(table, ["a", "b"]).to_pylist() == ["UA/1", WHOLE, "UA/1", WHOLE, "all/3"]
    assert segments_of(table.slice(0, 0), ["a"]).to_pylist() == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([1, 2, None])), max_size=30))
def test_columns_give_what_single_rows_give(rows: list[tuple[str | None, int | None]]) -> None:
    one, other = pa.array([a for a, _ in rows], pa.string()), pa.array([b for _, b in rows], pa.int64())
    table = pa.table({"a": one, "b": other})
    assert segments_of(table, ["a", "b"]).to_pylist() == [segment_name(row) for row in rows]


def test_a_key_learns_from_its_part(tmp_path) -> None:
    spec = _load(tmp_path, "segments: {by: carrier}").spec
    table = pa.table({"carrier": ["UA", None, "AA", "UA"], "row": [0, 1, 2, 3]})
    assert part_of(table, spec, ModelKey("flights", "UA"))["row"].to_pylist() == [0, 3]
    assert part_of(table, spec, ModelKey("flights")).num_rows == 4
    assert part_of(table, spec, ModelKey("flights", "XX")).num_rows == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{by: nowhere}", "nowhere is a column that `columns` does not list"),
        ("{by: distance}", "distance is float"),
        ("{by: [carrier, delay]}", "delay is known only with the label"),
        ("{by: []}", "at least 1 item"),
        ("{by: carrier, min_rows: 1}", "min_rows"),
        ("{min_rows: 100}", "by"),
    ],
)
def test_a_spec_that_cannot_be_divided_says_why(given: str, said: str, tmp_path) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        _load(tmp_path, f"segments: {given}")


def test_operation_is_no_part_of_the_meaning(tmp_path) -> None:
    whole = _load(tmp_path / "0", "")
    by_carrier = _load(tmp_path / "1", "segments: {by: carrier}")
    frugal = _load(tmp_path / "2", "segments: {by: [carrier], budget: 3, guard: {max_reverted: 0.5}}")
    assert whole.spec.segments is None
    assert by_carrier.spec.segments.by == ("carrier",)
    assert by_carrier.spec.hash != whole.spec.hash
    assert by_carrier.spec.hash == frugal.spec.hash


def _load(folder, more: str):
    home = folder / "flights"
    home.mkdir(parents=True)
    (home / "model.yaml").write_text(f"{SPEC}\n{more}\n")
    (home / "sources.py").write_text("def rows(partition, as_of): ...\n")
    return load_model(home)
