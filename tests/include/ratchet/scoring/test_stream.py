"""Chunks of a table, groups of partitions, and what lies between who makes rows and who writes them."""

from __future__ import annotations

import time
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.tables import Table
from include.ratchet.scoring.spool import Spool
from include.ratchet.scoring.stream import ahead, group_partitions, read_chunks
from tests.include.ratchet.replay.lived import KNOWN, NAME

SCHEMA = pa.schema([("a", pa.int64())])
pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 40))
def test_groups_keep_every_partition_in_order_and_their_limit(rows, most):
    counts = {f"{index:02d}": count for index, count in enumerate(rows)}
    groups = group_partitions(counts, most)
    assert [key for group in groups for key in group] == list(counts)
    assert all(len(group) == 1 or sum(counts[key] for key in group) <= most for group in groups)
    assert all(groups)


@pytest.mark.parametrize("most", [1000, 150, 200])
def test_chunks_have_all_rows_and_only_what_is_known(lived, most):
    delta = Table(lived.settings, NAME, NAME).open()
    chunks = list(read_chunks(lived.model(NAME), delta, ["2026-02-25", "2026-02-27"], most))
    assert [chunk.num_rows for chunk in chunks] == {1000: [400], 150: [150, 150, 100], 200: [200, 200]}[most]
    assert set(chunks[0].column_names) == {*KNOWN, "_partition"}
    assert len({key for chunk in chunks for key in chunk["order_id"].to_pylist()}) == 400


def batches(count, error=None):
    for number in range(count):
        yield pa.record_batch([[number]], schema=SCHEMA)
    if error is not None:
        raise error


def test_spool_is_read_again_and_again_and_its_file_is_gone_afterwards(tmp_path):
    with closing(Spool(SCHEMA, batches(5), tmp_path / "spill")) as spool:
        for _ in range(2):
            with spool.open() as reader:
                assert reader.read_all()["a"].to_pylist() == [0, 1, 2, 3, 4]
    assert list((tmp_path / "spill").iterdir()) == []


def test_error_in_making_is_raised_before_anything_is_read(tmp_path):
    with pytest.raises(ZeroDivisionError, match="made badly"):
        Spool(SCHEMA, batches(3, ZeroDivisionError("made badly")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_next_item_is_made_while_one_is_used():
    made = []

    def make():
        for number in range(3):
            made.append(number)
            yield number

    used = []
    for item in ahead(make()):
        deadline = time.monotonic() + 10
        while len(made) < min(item + 2, 3) and time.monotonic() < deadline:
            time.sleep(0.001)
        used.append((item, len(made)))
    assert used == [(0, 2), (1, 3), (2, 3)]


def test_error_of_an_item_comes_where_it_would_have_been_used():
    items = ahead(batches(1, ZeroDivisionError("made badly")))
    assert next(items)["a"].to_pylist() == [0]
    with pytest.raises(ZeroDivisionError):
        next(items)
