"""Days that are lived: a retraining that its gates refuse ends nothing but itself."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from include.ratchet.cli.live import Life
from include.ratchet.errors import StackError
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.spec import ModelKey, partition_of
from tests.include.ratchet.monitoring.many import NAME, make_spec

KEY = ModelKey(NAME)


class Runs:
    """Runs that fail, and what their gates had said before."""

    layout = SimpleNamespace(serving_url="")

    def __init__(self, settings, reason):
        self.settings, self.reason = settings, reason

    def await_run(self, dag, conf):
        if self.reason:
            moment = datetime(2026, 3, 1, tzinfo=UTC)
            ledger.record(Entry(KEY, "verdict", f"verdict:{dag}", "manual run", self.reason, moment, 2), self.settings)
        message = f"run of {dag} failed"
        raise StackError(message)


def train(settings, reason):
    spec = make_spec()
    model = SimpleNamespace(name=NAME, spec=spec)
    life = Life(Runs(settings, reason), SimpleNamespace(settings=settings), model, [], "", [])
    life._train(partition_of(spec, "2026-03-01"))


def test_refused_version_is_said_and_life_goes_on(either_database, capsys):
    train(either_database, "reject: not worse than champion: found -0.02")
    assert "trained again: verdict of version 2: reject: not worse than champion" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize("reason", [None, "promote: passed all 9 gates"])
def test_run_that_failed_for_another_reason_ends_it(either_database, reason):
    with pytest.raises(StackError):
        train(either_database, reason)
