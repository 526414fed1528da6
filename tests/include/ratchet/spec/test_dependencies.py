"""What a spec may say of dependencies and hold-outs, what it may not, and what changes its hash."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from include.ratchet.spec.dependencies import DependenciesSpec, DependencyGateSpec, HoldoutSpec
from include.ratchet.spec.model import ModelSpec

BASE = {
    "name": "rain", "owner": "team", "description": "Will it rain tomorrow?", "task": "binary",
    "source": {"python": "rain"}, "keys": ["day"], "event_time": "at", "label": {"column": "is_wet"},
    "columns": {"place": {"type": "string"}},
}  # fmt: skip


def make(**more) -> ModelSpec:
    return ModelSpec.model_validate({**BASE, **more})


def test_only_a_gate_that_is_set_changes_the_hash():
    plain = make()
    told = make(dependencies={"necessity": True, "costs": {"rain.place": "3 EUR a day"}},
                serving={"holdout": {"share": 0.1}})  # fmt: skip
    assert told.hash == plain.hash
    gated = make(gates={"dependencies": {"max_late_share": 0.1}})
    assert gated.hash != plain.hash
    assert make(gates={"dependencies": {"max_late_share": 0.2}}).hash not in (gated.hash, plain.hash)


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ({"dependencies": {"costs": {"rain": "cheap"}}}, "costs"),
        ({"dependencies": {"costs": {"rain": "3"}}}, "costs"),
        ({"dependencies": {"costs": {"snow": "3 EUR"}}}, "snow is no table of the model; expected one of rain"),
        ({"dependencies": {"tolerance": -1}}, "tolerance"),
        ({"gates": {"dependencies": {"accepted": ["place"]}}}, "accepted"),
        ({"serving": {"holdout": {"share": 0}}}, "share"),
        ({"serving": {"holdout": {"share": 0.6}}}, "share"),
        ({"serving": {"holdout": {"share": 0.1, "answer": "dry"}}}, "found 'dry' of a binary task; expected true"),
        ({"serving": {"holdout": {"share": 0.1, "answer": 1.5}}}, "expected true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused(section, error):
    with pytest.raises(ValidationError, match=error):
        make(**section)


@pytest.mark.parametrize(
    ("task", "answer"), [("binary", False), ("multiclass", "none"), ("regression", 0.5), ("regression", 3)]
)
def test_neutral_answer_is_of_the_task(task, answer):
    found = make(task=task, serving={"holdout": {"share": 0.1, "answer": answer}}).serving.holdout
    assert found.answer == answer
    assert make(task=task, serving={"holdout": {"share": 0.1}}).serving.holdout.answer is None


def test_defaults_ask_for_nothing_costly():
    assert not DependenciesSpec().necessity
    assert DependencyGateSpec() == DependencyGateSpec(accepted=(), no_semantic_change=False)
    assert HoldoutSpec(share=0.5).salt == "holdout"
