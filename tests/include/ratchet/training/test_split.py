"""No part of a split knows what a later part is judged on."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.ratchet.errors import TooFewRowsError
from include.ratchet.training.frames import times
from include.ratchet.training.split import split_rows
from tests.include.ratchet.training.data import AS_OF, make_model, make_table


@given(
    seed=st.integers(0, 1000),
    delay=st.integers(0, 4),
    validation=st.integers(5, 15),
    test=st.integers(5, 15),
    embargo=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_split_by_time_is_honest(tmp_path_factory, seed, delay, validation, test, embargo):
    split = {"validation": f"{validation}d", "test": f"{test}d", "embargo": f"{embargo}d"}
    model = make_model(tmp_path_factory.mktemp("m"), training={"window": {"length": "60d"}, "split": split})
    table = make_table(1200, seed, timedelta(days=delay))
    parts = split_rows(table, model.spec, AS_OF)
    event, known = times(table, "at"), times(table, "_label_available_time")
    test_start = np.datetime64((AS_OF - timedelta(days=test)).replace(tzinfo=None))
    validation_start = test_start - np.timedelta64(validation, "D")
    gap = np.timedelta64(embargo, "D")
    assert (event[parts.test] >= test_start).all()
    assert (known[parts.train] < validation_start).all()
    assert (known[parts.validation] < test_start).all()
    assert (event[parts.train] < validation_start - gap).all()
    assert ((event[parts.validation] >= validation_start) & (event[parts.validation] < test_start - gap)).all()
    kept = len(parts.train) + len(parts.validation) + len(parts.test)
    assert kept + parts.purged + parts.embargoed == table.num_rows
    assert len(np.unique(np.concatenate([parts.development, parts.test]))) == kept


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_split_by_chance_is_disjoint_repeatable_and_of_the_asked_size(tmp_path, by):
    model = make_model(tmp_path, training={"split": {"by": by, "validation_share": 0.2, "test_share": 0.3}})
    table = make_table(1000)
    one, again = split_rows(table, model.spec, AS_OF), split_rows(table, model.spec, AS_OF)
    assert np.array_equal(one.test, again.test)
    assert (len(one.train), len(one.validation), len(one.test)) == (500, 200, 300)
    assert len(np.unique(np.concatenate([one.development, one.test]))) == 1000
    if by == "stratified":
        label = table["y"].to_numpy()
        assert label[one.test].mean() == pytest.approx(label.mean(), abs=0.005)


def test_empty_part_is_said(tmp_path):
    model = make_model(tmp_path)
    with pytest.raises(TooFewRowsError, match="the train part is empty.*ingest more history"):
        split_rows(make_table(100), model.spec, AS_OF - timedelta(days=45))


def test_one_class_is_said(tmp_path):
    model = make_model(tmp_path)
    table = make_table(500)
    table = table.set_column(table.column_names.index("y"), "y", [np.zeros(500, dtype=bool)])
    with pytest.raises(TooFewRowsError, match="expected at least two classes"):
        split_rows(table, model.spec, AS_OF)
