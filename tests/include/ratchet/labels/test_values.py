"""What may be said of a row, and rows with several keys on their way out and back."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from include.ratchet.data.annotations import AnnotationTable
from include.ratchet.errors import AnnotationError
from include.ratchet.labels import doccano
from include.ratchet.labels.intake import Intake, import_files
from include.ratchet.labels.tasks import make_tasks
from include.ratchet.labels.values import LabelValues
from tests.include.ratchet.data.orders import SPEC, land_day, make_settings, order, write_model, write_rows
from tests.include.ratchet.labels.letters import NOW, SAID, studio_tasks

EMPTY = pa.table({"order_id": pa.array([], pa.string())})


def model_of(tmp_path, task, **column):
    label = {"column": "kind", "annotations": {"rule": "latest"}}
    return write_model(tmp_path, {"task": task, "label": label, "columns": {**SPEC["columns"], "kind": column}})


@pytest.mark.parametrize(
    ("task", "column", "choice", "value"),
    [
        ("binary", {"type": "boolean"}, "true", True),
        ("binary", {"type": "boolean"}, "No", False),
        ("binary", {"type": "boolean"}, True, True),
        ("binary", {"type": "boolean"}, "maybe", None),
        ("multiclass", {"type": "string", "values": ["cat", "dog"]}, "dog", "dog"),
        ("multiclass", {"type": "string", "values": ["cat", "dog"]}, "Dog", None),
        ("multiclass", {"type": "string", "values": ["cat", "dog"]}, True, None),
        ("multiclass", {"type": "string", "values": ["cat", "dog"]}, {"x": 1}, None),
        ("multiclass", {"type": "integer", "values": ["1", "2"]}, "2", 2),
        ("multiclass", {"type": "integer", "values": ["1", "2"]}, 2, 2),
        ("multiclass", {"type": "integer", "values": ["1", "2"]}, "2.5", None),
        ("regression", {"type": "float"}, 3, 3.0),
        ("regression", {"type": "float"}, "2.5", 2.5),
        ("regression", {"type": "float"}, "many", None),
        ("regression", {"type": "float"}, "inf", None),
        ("regression", {"type": "float"}, "NaN", None),
        ("regression", {"type": "float"}, True, None),
    ],
)
def test_choice_is_read_in_the_labels_type(tmp_path, task, column, choice, value):
    found = LabelValues(model_of(tmp_path, task, **column), EMPTY).parse(choice)
    assert found == value
    assert type(found) is type(value)


def test_classes_that_the_spec_does_not_list_are_those_that_landed(tmp_path):
    model = model_of(tmp_path, "multiclass", type="string")
    values = LabelValues(model, pa.table({"kind": ["dog", None, "cat", "dog"]}))
    assert values.expected == "one of cat, dog"
    with pytest.raises(AnnotationError, match=r"columns.kind lists no `values`, and no row has a label yet"):
        LabelValues(model, EMPTY)


@pytest.fixture
def parcels(tmp_path):
    """Orders with two keys, one of them a time."""
    label = {"column": "is_returned", "available_time": "settled_at", "outcomes": ["refund"],
             "annotations": {"rule": "latest"}}  # fmt: skip
    serving = {"records": {"mask": ["amount"]}}
    model = write_model(tmp_path, {"keys": ["order_id", "placed_at"], "label": label, "serving": serving})
    settings = make_settings(tmp_path)
    write_rows(model, [order(number) for number in range(5)])
    land_day(model, 1, settings)
    return settings, model


def test_rows_with_several_keys_find_their_way_back(parcels, tmp_path):
    settings, model = parcels
    when = order(2)["placed_at"]
    key = json.dumps(["o2", when.isoformat()])
    tasks = make_tasks(settings, model, [key])
    assert "country: DE" in tasks[0].text
    assert not {"is_returned", "settled_at", "refund", "amount"} & {
        line.split(":")[0] for line in tasks[0].text.splitlines()
    }
    line = {**json.loads(doccano.write_tasks(tasks)), "id": 1, "label": ["true"]}
    (tmp_path / "ana.jsonl").write_text(json.dumps(line))
    plain = studio_tasks([("x", "false", 3, SAID)])
    plain[0]["annotations"][0]["result"][0]["from_name"] = "is_returned"
    plain[0]["data"] = {"order_id": "o2", "placed_at": "2024-01-01T02:02:00Z"}
    (tmp_path / "bo.json").write_text(json.dumps(plain))
    import_files(settings, model, [tmp_path / "ana.jsonl", tmp_path / "bo.json"], Intake(at=SAID), NOW)
    assert {(one.key, one.labeller, one.value) for one in AnnotationTable(settings, "orders").all()} == {
        (key, "ana", True), (key, "3", False)
    }  # fmt: skip


@pytest.mark.parametrize("when", ["noon", 7, None])
def test_key_of_another_type_is_said(parcels, tmp_path, when):
    settings, model = parcels
    task = studio_tasks([("x", "true", 3, SAID)])
    task[0]["data"] = {"order_id": "o2", "placed_at": when}
    (tmp_path / "bo.json").write_text(json.dumps(task))
    with pytest.raises(AnnotationError, match=r"a timestamp under placed_at|or the keys order_id, placed_at"):
        import_files(settings, model, [tmp_path / "bo.json"], Intake(), NOW)


def test_task_of_a_row_that_is_gone_is_said(parcels):
    settings, model = parcels
    with pytest.raises(AnnotationError, match=r"found no row with keys \[\"o9\"\]"):
        make_tasks(settings, model, ['["o9"]'])
