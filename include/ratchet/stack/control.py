"""Starting, finding and stopping the embedded stack from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from include.ratchet.errors import StackError
from include.ratchet.settings import PROJECT
from include.ratchet.stack.airflow_settings import apply_airflow_settings, read_airflow_settings
from include.ratchet.stack.client import AirflowClient
from include.ratchet.stack.layout import Layout, open_layout, read_layout
from include.ratchet.stack.supervisor import Supervisor, state_path, sweep

_started: list[subprocess.Popen[bytes]] = []
"""Supervisors that this process started: they outlive it, and are reaped if they do not."""


@dataclass(frozen=True)
class ComponentStatus:
    """One process of the stack: its id, how often it was restarted, and its memory with that of its children."""

    name: str
    pid: int
    restarts: int
    memory_mb: float


@dataclass(frozen=True)
class StackStatus:
    """What runs: `stopped`, `starting` or `healthy`; memory is the proportional set size in MB."""

    status: str
    pid: int | None = None
    airflow_url: str | None = None
    mlflow_url: str | None = None
    serving_url: str | None = None
    components: tuple[ComponentStatus, ...] = field(default=())

    @property
    def memory_mb(self) -> float:
        """Of all processes together."""
        return sum(component.memory_mb for component in self.components)


def run_stack(home: Path, environ: Mapping[str, str], ports: Mapping[str, int], say: Callable[[str], None],
              on_healthy: Callable[[Layout], None] = lambda layout: None) -> None:  # fmt: skip
    """Run the stack in this process until it is asked to end.

    Raises:
        StackError: a port is taken or a part does not start.
    """
    layout = open_layout(home, ports)

    def greet() -> None:
        _configure(layout, environ, say)
        on_healthy(layout)

    Supervisor(layout, environ, say).run(greet)


def _configure(layout: Layout, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Apply the project's `airflow_settings.yaml`; one that cannot be applied stops nothing else."""
    try:
        wanted = read_airflow_settings(PROJECT / "airflow_settings.yaml", environ)
        for line in wanted.left_out:
            say(line)
        with AirflowClient.of(layout) as client:
            apply_airflow_settings(client, wanted)
    except StackError as error:
        say(f"the settings were not applied: {error}")


def start_stack(home: Path, environ: Mapping[str, str], ports: Mapping[str, int], say: Callable[[str], None],
                timeout_s: float = 240) -> Layout:  # fmt: skip
    """Start the stack in the background and wait until it is healthy; one that runs already is taken as it is.

    Raises:
        StackError: it did not start; the message holds its last words.
    """
    if read_status(home).status == "stopped":
        home.mkdir(parents=True, exist_ok=True)
        log = home / "supervisor.log"
        options = [f"--{name}-port={port}" for name, port in ports.items()]
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "include.ratchet.cli", "up", "--plain", *options],
                env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        _started.append(process)
        _follow(home, log, process, say, timeout_s)
    else:
        _wait_healthy(home, timeout_s)
    return read_layout(home)


def _follow(home: Path, log: Path, process: subprocess.Popen[bytes], say: Callable[[str], None],
            timeout_s: float) -> None:  # fmt: skip
    deadline = time.monotonic() + timeout_s
    said = 0
    while read_status(home, with_memory=False).status != "healthy":
        lines = log.read_text().splitlines()
        for line in lines[said:]:
            say(line)
        said = len(lines)
        if process.poll() is not None:
            message = "the stack did not start:\n" + log.read_text().strip()
            raise StackError(message)
        if time.monotonic() > deadline:
            stop_stack(home)
            message = f"the stack was not healthy within {timeout_s:g} s:\n" + log.read_text().strip()
            raise StackError(message)
        time.sleep(0.3)


def _wait_healthy(home: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while (status := read_status(home, with_memory=False).status) != "healthy":
        if status == "stopped" or time.monotonic() > deadline:
            message = f"the stack in {home} is {status}; see {home / 'supervisor.log'}"
            raise StackError(message)
        time.sleep(0.3)


def stop_stack(home: Path, timeout_s: float = 40) -> bool:
    """Stop the stack and everything it started; returns whether there was anything to stop."""
    pid = read_status(home, with_memory=False).pid
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        with suppress(psutil.Error):
            psutil.Process(pid).wait(timeout_s)
    left = sweep(home)
    state_path(home).unlink(missing_ok=True)
    return pid is not None or left > 0


def read_status(home: Path, *, with_memory: bool = True) -> StackStatus:
    """What runs now, whatever a stale file may say."""
    path = state_path(home)
    if not path.exists():
        return StackStatus("stopped")
    state = json.loads(path.read_text())
    if not _is_supervisor(state["pid"]):
        return StackStatus("stopped")
    layout = read_layout(home)
    parts = tuple(
        ComponentStatus(name, part["pid"], part["restarts"], _memory_mb(part["pid"]) if with_memory else 0.0)
        for name, part in state["components"].items()
    )
    return StackStatus(state["status"], state["pid"], layout.airflow_url, layout.mlflow_url, layout.serving_url, parts)


def _is_supervisor(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "include.ratchet.cli" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _memory_mb(pid: int) -> float:
    """Proportional set size of a process and its descendants: shared pages are counted once over all that share."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total / 1e6
