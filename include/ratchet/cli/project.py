"""Working on Ratchet itself: its checks and its locks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit
from include.ratchet.settings import PROJECT

_BIN = Path(sys.executable).parent
CHECKS: dict[str, tuple[str, ...]] = {
    "ruff check": (str(_BIN / "ruff"), "check", "."),
    "ruff format": (str(_BIN / "ruff"), "format", "--check", "."),
    "mypy": (str(_BIN / "mypy"), "include", "plugins", "benchmarks"),
    "import-linter": (str(_BIN / "lint-imports"),),
    "packages": (sys.executable, "-m", "include.ratchet.cli.packages"),
    "pytest": (sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m", "not system and not stack"),
    "system": (sys.executable, "-m", "pytest", "-m", "system", "--durations", "20", "tests/system"),
    "stack": (sys.executable, "-m", "pytest", "-m", "stack", "tests/stack"),
}


def run_checks(
    only: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(CHECKS)}.")] = None,
    fast: Annotated[bool, typer.Option(help="Leave out the system test, which starts a whole stack.")] = False,
    stack: Annotated[bool, typer.Option(help="Only what a team runs: Docker Compose, Celery, faults.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run every check: style, types, import rules, tests, and the system test on a real stack.

    What a team runs is tested by `--stack` alone: it needs root, Docker and half an hour.

    Example: `./ratchet test --fast`
    """
    left_out = {"stack", *(["system"] if fast else [])}
    chosen = ["stack"] if stack else [name for name in CHECKS if (name in only if only else name not in left_out)]
    unknown = set(only or ()) - set(CHECKS)
    if unknown:
        message = f"found {', '.join(sorted(unknown))}; expected some of {', '.join(CHECKS)}"
        raise typer.BadParameter(message)
    results = {name: _run(name, CHECKS[name], quiet=as_json) for name in chosen}
    if as_json:
        emit({name: {"passed": passed, "seconds": seconds} for name, (passed, seconds) in results.items()})
    else:
        table = Table("check", "", "seconds")
        for name, (passed, seconds) in results.items():
            table.add_row(name, "[green]pass[/]" if passed else "[red]fail[/]", f"{seconds:.1f}")
        console.print(table)
    if not all(passed for passed, _ in results.values()):
        raise SystemExit(1)


def _run(name: str, command: tuple[str, ...], *, quiet: bool) -> tuple[bool, float]:
    console.rule(name, align="left")
    started = time.monotonic()
    # Everything a check prints goes to standard error when standard output is a script's.
    done = subprocess.run(command, check=False, cwd=PROJECT, env=dict(os.environ), stdout=sys.stderr if quiet else None)  # noqa: S603
    return done.returncode == 0, time.monotonic() - started


def lock(
    upgrade: Annotated[bool, typer.Option(help="Take the newest versions that fit together.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile requirements.in, requirements-dev.in and requirements-serving.in into locks with hashes.

    Example: `./ratchet lock --upgrade`
    """
    made = []
    for name in ("requirements", "requirements-dev", "requirements-serving"):
        line = [str(_BIN / "uv"), "pip", "compile", "--quiet", "--generate-hashes", "--python-version", "3.11",
                *(["--upgrade"] if upgrade else []), f"{name}.in", "-o", f"{name}.txt"]  # fmt: skip
        done = subprocess.run(line, check=False, cwd=PROJECT)  # noqa: S603
        if done.returncode:
            raise SystemExit(done.returncode)
        made.append(f"{name}.txt")
    if as_json:
        emit({"locks": made})
    else:
        console.print(f"compiled {', '.join(made)}; the next command installs what has changed")
