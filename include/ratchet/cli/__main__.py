"""`./ratchet`: every command, and how an error ends one."""

from __future__ import annotations

import os
import signal

import typer

from include.ratchet.cli import (
    backtest,
    demo,
    dependencies,
    explain,
    export,
    fairness,
    labels,
    models,
    monitor,
    project,
    replay,
    rollout,
    serving,
    specs,
    stack,
    trust,
)
from include.ratchet.cli.output import console, emit, say, wants_json
from include.ratchet.errors import RatchetError

app = typer.Typer(
    name="ratchet",
    help="Continuous training for machine-learning models on Apache Airflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
for command in (
    demo.demo, stack.up, stack.down, stack.status, stack.configure, stack.secrets, stack.prepare,
    specs.check, specs.new, models.run,
    models.backfill, models.reproduce, models.history, models.revert, monitor.monitor, backtest.backtest,
    explain.explain, fairness.fairness, dependencies.dependencies, trust.erase, trust.audit,
    replay.replay, rollout.rollout, serving.serve, serving.stress, project.lock,
):  # fmt: skip
    app.command()(command)
app.command("test")(project.run_checks)
app.add_typer(serving.keys, name="key")
app.add_typer(labels.labels, name="labels")
app.add_typer(export.exports, name="export")


def main() -> None:
    """Run the command line; an error of the engine is one message and exit status 1, never a trace."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app(prog_name=os.environ.get("RATCHET_PROGRAM", "ratchet"))
    except RatchetError as error:
        if wants_json():
            emit({"error": type(error).__name__, "message": str(error)})
        console.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        say(error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
