"""The spec's words on labels that people give."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from include.ratchet.spec import ModelSpec
from include.ratchet.spec.labels import ANNOTATIONS

PLAIN = {
    "name": "mail", "owner": "us", "description": "Is a letter spam? For tests.", "task": "binary",
    "source": {"python": "letters"}, "keys": ["id"], "event_time": "at", "label": {"column": "is_spam"},
}  # fmt: skip


def make(task="binary", **annotations):
    label = {"column": "is_spam", **({"annotations": annotations} if annotations else {})}
    kind = "float" if task == "regression" else "boolean"
    columns = {"is_spam": {"type": kind}} if annotations else {}
    return ModelSpec.model_validate({**PLAIN, "task": task, "label": label, "columns": columns})


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("annotations", [{"rule": "majority"}, {"rule": "latest"}, {"rule": "unanimous"},
                                         {"rule": "first_of", "order": ["*@experts.org", "source"]}])  # fmt: skip
def test_rules_of_classes(task, annotations):
    assert make(task, **annotations).input_names == ("mail", ANNOTATIONS)


@pytest.mark.parametrize(
    ("task", "annotations", "message"),
    [
        (
            "regression",
            {"rule": "majority"},
            "majority does not settle the labels of a regression task; expected median",
        ),
        ("binary", {"rule": "median"}, "median does not settle the labels of a binary task; expected majority"),
        ("binary", {"rule": "first_of"}, "rule first_of with order \\[\\]; expected `order` with labellers"),
        ("binary", {"rule": "latest", "order": ["ana"]}, "rule latest with order \\['ana'\\]"),
        ("binary", {"rule": "latest", "min_labellers": 0}, "greater than or equal to 1"),
        ("binary", {"min_labellers": 1}, "Field required"),
        ("binary", {"rule": "best"}, "Input should be 'majority'"),
    ],
)
def test_what_cannot_be_is_refused(task, annotations, message):
    with pytest.raises(ValidationError, match=message):
        make(task, **annotations)


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        ("binary", {}, "as the type of is_spam, found none; expected boolean or string or integer. Declare it"),
        ("binary", {"is_spam": {"type": "float"}}, "found float; expected boolean or string or integer"),
        ("regression", {"is_spam": {"type": "integer"}}, "found integer; expected float"),
    ],
)
def test_type_of_the_label_must_be_declared(task, columns, message):
    label = {"column": "is_spam", "annotations": {"rule": "latest"}}
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate({**PLAIN, "task": task, "columns": columns, "label": label})


def test_hash_is_as_before_without_annotations_and_follows_the_rule_with_them():
    plain = ModelSpec.model_validate(PLAIN)
    # What the spec hashed to before it knew of annotations.
    assert plain.hash == "34cd60cd6e2b5cbc12d379c78b60b5ee08e541cfc5c5e6abfd2fdce8621072e7"
    latest = make(rule="latest")
    assert latest.hash not in {plain.hash, make(rule="unanimous").hash}
    assert make(rule="latest", review={"max_rows": 3}).hash == latest.hash
    assert plain.input_names == ("mail",)
