"""What a spec may say of its scope, and what is refused with where, what was found and what is expected."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from include.ratchet.errors import SpecError
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.scaffold import Answers, make_model
from include.ratchet.spec.scope import BusinessSpec

COLUMNS = {"price": {"type": "float"}, "y": {"type": "boolean"}}


def make_spec(scope, **changes):
    return ModelSpec.model_validate({
        "name": "orders", "owner": "o", "description": "Orders that come back.", "task": "binary",
        "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y"},
        "columns": COLUMNS, **({"scope": {"problem": "Orders come back.", **scope}} if scope is not None else {}),
        **changes,
    })  # fmt: skip


def business(value, **more):
    return {"business": {"name": "worth", "unit": "EUR", "value": value, **more}}


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        ("CASE WHEN decision AND y THEN 0.3 * price ELSE -2 END", ("y", "price")),
        ("abs(score - price)", ("price",)),
        ("score", ()),
        ("least(price, 3) + price", ("price",)),
    ],
)
def test_expression_tells_the_columns_that_it_reads(value, columns):
    assert BusinessSpec(name="worth", unit="EUR", value=value).columns == columns
    assert make_spec(business(value)).scope.valued_columns == columns


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sum(price)", "without aggregates"),
        ("avg(price) OVER ()", "without aggregates"),
        ("(SELECT 1)", "without aggregates, windows or queries"),
        ("price) FROM read_csv('/etc/passwd') WHERE (1 = 1", "expression over one row"),
        ("price, y", "expected one expression"),
        ("price; DROP TABLE orders", "expression over one row"),
        ("orders.price", "bare name"),
        ("price +", "expected a SQL expression|Expected a SQL expression"),
        ("*", "expression over one row"),
        ("0.3 * prise", "prise is none of the model's columns; did you mean 'price'"),
    ],
)
def test_what_is_no_value_of_a_row_is_refused(value, words):
    with pytest.raises(ValidationError, match=words):
        make_spec(business(value))


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"guardrails": {"rmse": 0.1}}, "scope.guardrails: rmse does not measure a binary task"),
        ({"guardrails": {"log_loss": -0.1}}, "guardrails.log_loss: found -0.1; expected"),
        ({"references": {"today": {"kind": "guess", "value": 1, "source": "who knows"}}}, "present_process"),
        ({"constraints": {"latency_ms": 0}}, "greater than 0"),
        ({"purpose": "x"}, "Extra inputs"),
    ],
)
def test_what_a_scope_cannot_say_is_refused(scope, words):
    with pytest.raises(ValidationError, match=words):
        make_spec(scope)


def test_words_change_no_hash_and_what_judges_does():
    plain, worded = make_spec({}), make_spec({"problem": "Orders come back, and cost.", "decision": "Call them."})
    assert make_spec(None).hash not in (plain.hash, worded.hash)
    assert plain.hash == worded.hash
    valued = make_spec(business("price"))
    assert len({plain.hash, valued.hash, make_spec(business("2 * price")).hash}) == 3
    assert valued.scope.business.number != make_spec(business("2 * price")).scope.business.number


def test_new_model_holds_what_was_answered(tmp_path):
    answers = Answers(
        owner="returns: team", problem='Returns "cost" us {much}: too much.', metric="log_loss", guardrail="ece",
        present=0.4, latency_ms=20, unit="€", value="CASE WHEN decision THEN price ELSE 0 END",
    )  # fmt: skip
    raw = yaml.safe_load((make_model(tmp_path, "orders", answers) / "model.yaml").read_text())
    spec = ModelSpec.model_validate(raw)
    assert (spec.owner, spec.scope.problem) == (answers.owner, answers.problem)
    assert (spec.metric, spec.scope.guardrails, spec.scope.constraints.latency_ms) == ("log_loss", {"ece": 0.02}, 20)
    assert spec.scope.references["today"].value == 0.4
    assert (spec.scope.business.unit, spec.scope.business.value) == (answers.unit, answers.value)
    with pytest.raises(SpecError, match="guardrail: found 'rmse'; expected one of"):
        make_model(tmp_path, "others", Answers(guardrail="rmse"))
    assert not (tmp_path / "others").exists()
