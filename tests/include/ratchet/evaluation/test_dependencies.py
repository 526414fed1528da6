"""Gates of dependencies: passing, failing and the border of each, and none that nobody set."""

from __future__ import annotations

import pytest

from include.ratchet.evaluation.dependencies import DependencyFacts, hold_dependencies
from include.ratchet.spec.dependencies import DependencyGateSpec

FACTS = DependencyFacts({"orders": 0.1, "weather": 0.02}, {"orders": 0.0}, ("orders.price@2026-02-09",))


@pytest.mark.parametrize(
    ("gates", "passed"),
    [
        ({"max_late_share": 0.1}, True), ({"max_late_share": 0.099}, False), ({"max_broken_share": 0.0}, True),
        ({"no_semantic_change": True}, False),
        ({"no_semantic_change": True, "accepted": ("orders.price@2026-02-09",)}, True),
        ({"no_semantic_change": True, "accepted": ("orders.price@2026-02-10",)}, False),
    ],
)  # fmt: skip
def test_gate_passes_up_to_its_border(gates, passed):
    (result,) = hold_dependencies(DependencyGateSpec(**gates), FACTS)
    assert (result.passed, result.refusal) == (passed, "reject")


def test_numbers_name_the_worst_table_and_the_columns():
    late, change = hold_dependencies(DependencyGateSpec(max_late_share=0.05, no_semantic_change=True), FACTS)
    assert late.found == "10.0% of the partitions of orders"
    assert change.found == "orders.price@2026-02-09"


def test_what_nobody_asks_or_looked_into_is_no_gate():
    assert list(hold_dependencies(None, FACTS)) == []
    assert list(hold_dependencies(DependencyGateSpec(), FACTS)) == []
    assert list(hold_dependencies(DependencyGateSpec(max_late_share=0.1), None)) == []
    results = hold_dependencies(DependencyGateSpec(max_late_share=0, max_broken_share=0), DependencyFacts())
    assert [result.passed for result in results] == [True, True]
