from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.features.asof import Codes, Layout, Timeline, Values, stable_order, to_integers

KEYS = st.sampled_from(["a", "b", "c", None])
ROWS = st.lists(st.tuples(KEYS, st.sampled_from([1, 2, None]), st.integers(-5, 5)), max_size=40)


@given(
    rows=ROWS,
    probes=st.lists(
        st.tuples(st.sampled_from(["a", "b", "zz", None]), st.sampled_from([1, 2, 3, None]), st.integers(-6, 6)),
        max_size=20,
    ),
    repeat=st.sampled_from([1, 100]),
)
def test_a_place_counts_the_rows_of_a_key_known_before(rows: list, probes: list, repeat: int) -> None:
    probes = probes * repeat  # a few probes are looked up one by one, many all together
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in ((0, pa.string()), (1, pa.int64()))]
    timeline = Timeline(pa.array([row[2] for row in rows], pa.int64()))
    keys = [Values(column) for column in columns]
    codes = Codes(keys)
    layout = Layout(timeline, codes.codes)
    asked = codes.combine(
        [keys[0].encode(pa.array([row[0] for row in probes], pa.string())),
         keys[1].encode(pa.array([row[1] for row in probes], pa.int64()))]
    )  # fmt: skip
    now = layout.find(layout.starts(asked), timeline.count(np.array([row[2] for row in probes], np.int64)))
    ago = layout.find(layout.starts(asked), timeline.count(np.array([row[2] - 3 for row in probes], np.int64)))
    for (name, number, moment), code, behind, before in zip(probes, asked, now, ago, strict=True):
        known = [i for i, row in enumerate(rows) if None not in (name, number) and row[:2] == (name, number)]
        assert code >= 0 or not known
        assert behind - before == sum(moment - 3 <= rows[i][2] < moment for i in known)
        if code >= 0:
            assert set(layout.rows[before:behind]) == {i for i in known if moment - 3 <= rows[i][2] < moment}


@given(rows=ROWS)
def test_the_newest_of_a_key_is_the_highest_row_known_by_then(rows: list) -> None:
    codes = Codes([Values(pa.array([row[0] for row in rows], pa.string()))]).codes
    layout = Layout(Timeline(pa.array([row[2] for row in rows], pa.int64())), codes)
    seen: dict[int, int] = {}
    for row, code, newest in zip(layout.rows, layout.codes, layout.newest(), strict=True):
        seen[code] = max(seen.get(code, -1), row)
        assert newest == seen[code]


@given(values=st.lists(st.one_of(st.integers(-1, 70000), st.integers(-3, 3))))
def test_equals_keep_their_order(values: list[int]) -> None:
    order = stable_order(np.array(values, np.int64))
    assert list(order) == sorted(range(len(values)), key=lambda i: values[i])


def test_times_become_microseconds_and_nulls_the_number_asked_for() -> None:
    times = pa.array([1, None], pa.timestamp("ms"))
    assert to_integers(times, -7).tolist() == [1000, -7]


@given(rows=st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30), is_dense=st.booleans())
def test_numbers_tell_combinations_of_keys_apart(rows: list[tuple[int, ...]], is_dense: bool) -> None:
    keys = [Values(pa.array(column)) for column in zip(*rows, strict=True)]
    codes = Codes(keys, is_dense=is_dense)
    assert codes.codes.tolist() == codes.combine([key.codes for key in keys]).tolist()
    assert len(set(zip(rows, codes.codes.tolist(), strict=True))) == len(set(rows)) == len(set(codes.codes.tolist()))
    if is_dense:
        assert set(codes.codes.tolist()) == set(range(len(set(rows))))


def test_many_keys_of_many_values_do_not_run_over() -> None:
    """Six keys of a thousand values each would need sixty bits beside a row number of ten."""
    random = np.random.default_rng(0)
    columns = [pa.array(random.permutation(1000)) for _ in range(6)]
    codes = Codes([Values(column) for column in columns])
    assert len(set(codes.codes.tolist())) == 1000
    assert codes.codes.min() >= 0
    assert codes.codes.max() * 1001 < 2**63
    others = [
        key.encode(column.take(pa.array(random.permutation(1000))))
        for key, column in zip(codes.keys, columns, strict=True)
    ]
    assert (codes.combine(others) == -1).sum() > 900
