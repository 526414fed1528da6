"""What the owner says of costs and bias is told, checked, and decides no model."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.include.ratchet.training.data import make_model


def test_words_and_costs_leave_the_hash_as_it_was(tmp_path):
    plain = make_model(tmp_path).spec
    assert (plain.evaluation.costs.false_positive, plain.evaluation.costs.false_negative) == (1.0, 1.0)
    assert plain.evaluation.bias.label_source is None
    told = make_model(tmp_path, evaluation={
        "costs": {"false_positive": 5}, "bias": {"label_source": "human", "notes": "Two clerks."},
    }).spec  # fmt: skip
    assert told.hash == plain.hash
    assert make_model(tmp_path, evaluation={"threshold": 0.4}).spec.hash != plain.hash


@pytest.mark.parametrize("section", [{"costs": {"false_positive": -1}}, {"bias": {"label_source": "guessed"}}])
def test_what_is_no_cost_and_no_source_is_refused(tmp_path, section):
    with pytest.raises(ValidationError):
        make_model(tmp_path, evaluation=section)
