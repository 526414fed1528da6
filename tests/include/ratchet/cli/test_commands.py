"""The command line as people and scripts meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.ratchet.cli.__main__ import app
from include.ratchet.spec import get_model

PROJECT = Path(__file__).resolve().parents[4]
COMMANDS = sorted({one.name or one.callback.__name__ for one in app.registered_commands})


def ratchet(*words: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET", "AIRFLOW", "MLFLOW"))}
    known |= {"RATCHET_HOME": str(home / "home"), "RATCHET_MODELS_DIR": str(home / "models"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "include.ratchet.cli", *words], capture_output=True, text=True, check=False,
        cwd=PROJECT, env={**known, **environ},
    )  # fmt: skip


def test_every_command_of_the_readme_is_there():
    assert sorted([
        "audit", "backfill", "backtest", "check", "configure", "demo", "dependencies", "down", "erase", "explain",
        "fairness", "history", "lock", "monitor", "new", "prepare", "replay", "reproduce", "revert", "rollout", "run",
        "secrets", "serve", "status", "stress", "test", "up",
    ]) == COMMANDS  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_says_how_scripts_read_it(name):
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"Example: ./ratchet {name}" in shown.output
    assert "--json" in shown.output


def test_new_model_passes_check_and_a_broken_one_is_explained(tmp_path):
    assert ratchet("new", "order_returns", "--json", home=tmp_path).returncode == 0
    checked = ratchet("check", "--json", home=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == {"order_returns": {"valid": True, "problem": None, "caution": None}}
    spec = tmp_path / "models/order_returns/model.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("test: 10d", "test: 8d"))
    told = ratchet("check", home=tmp_path)
    assert told.returncode == 0
    assert "monitoring will not judge the metric: 7 partition(s)" in " ".join(told.stderr.split())
    spec.write_text(text.replace("task: binary", "task: binery"))
    checked = ratchet("check", "--json", home=tmp_path)
    assert checked.returncode == 1
    assert "did you mean 'binary'" in json.loads(checked.stdout)["order_returns"]["problem"]
    told = ratchet("check", home=tmp_path)
    assert told.returncode == 1
    assert told.stdout == ""
    assert "not valid order_returns" in told.stderr


def test_new_asks_for_the_scope_in_a_terminal(tmp_path):
    """A real one: what is typed answers what was not given as an option."""
    import pty

    leader, follower = pty.openpty()
    environ = {**os.environ, "RATCHET_MODELS_DIR": str(tmp_path), "RATCHET_HOME": str(tmp_path / "home"),
               "TERM": "dumb"}  # fmt: skip
    words = [sys.executable, "-m", "include.ratchet.cli", "new", "order_returns", "--metric", "log_loss"]
    with subprocess.Popen(words, stdin=follower, stderr=subprocess.PIPE, cwd=PROJECT, env=environ, text=True) as asked:
        os.close(follower)
        os.write(leader, b"returns team\nOrders come back.\nWe call them.\nece\n0.45\n\nCHF\n\n")
        told = asked.communicate(timeout=60)[1]
    os.close(leader)
    assert asked.returncode == 0, told
    assert "Which problem of whose business does it solve" in told
    spec = get_model(tmp_path, "order_returns").spec
    assert (spec.owner, spec.scope.problem, spec.metric) == ("returns team", "Orders come back.", "log_loss")
    assert spec.scope.guardrails == {"ece": 0.02}
    assert spec.scope.references["today"].value == 0.45
    assert (spec.scope.constraints.latency_ms, spec.scope.business.unit) == (None, "CHF")


def test_error_is_one_message_never_a_trace(tmp_path):
    ratchet("new", "order_returns", home=tmp_path)
    told = ratchet("history", "order_retruns", home=tmp_path)
    assert told.returncode == 1
    assert "did you mean 'order_returns'" in told.stderr
    assert "Traceback" not in told.stderr
    told = ratchet("history", "order_retruns", "--json", home=tmp_path)
    assert json.loads(told.stdout)["error"] == "ModelNotFoundError"


def test_status_and_down_without_a_stack(tmp_path):
    assert json.loads(ratchet("status", "--json", home=tmp_path).stdout)["status"] == "stopped"
    assert json.loads(ratchet("down", "--json", home=tmp_path).stdout) == {"stopped": False}


@pytest.mark.parametrize("words", [("reproduce", "order_returns"), ("run", "m", "--strategy", "luck"), ("run",)])
def test_wrong_words_are_refused_with_what_was_expected(tmp_path, words):
    told = ratchet(*words, home=tmp_path)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
