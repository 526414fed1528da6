"""Keeps the stack's processes running, and takes every one of them along when it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from include.ratchet.errors import StackError
from include.ratchet.processes import end_with_parent
from include.ratchet.stack import components, postgres
from include.ratchet.stack.components import Component
from include.ratchet.stack.layout import MARK, Layout

_GRACE_S = 12.0
_MAX_RESTARTS = 5


@dataclass
class _Running:
    component: Component
    process: subprocess.Popen[bytes]
    restarts: int = 0
    retry_at: float = 0.0


class Stopped(BaseException):
    """The supervisor was asked to end."""


class Supervisor:
    """Starts the stack, restarts what crashes, stops it all.

    Args:
        layout: where the stack lives.
        environ: the environment that its processes start from.
        say: receives one line for each thing that happens.
    """

    def __init__(self, layout: Layout, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._layout = layout
        self._environ = layout.environment(environ)
        self._say = say
        self._running: dict[str, _Running] = {}

    def run(self, on_healthy: Callable[[], None] = lambda: None) -> None:
        """Run the stack until a signal (TERM, INT or HUP) asks it to end.

        Raises:
            StackError: a part did not start, or kept crashing. Everything is stopped by then.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _raise_stopped)
        with _lock(self._layout.home):
            sweep(self._layout.home)
            try:
                self._start_all()
                self._publish("healthy")
                on_healthy()
                while True:
                    time.sleep(0.5)
                    self._restart_crashed()
            except Stopped:
                self._say("stopping")
            finally:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                self._stop_all()
                sweep(self._layout.home)
                state_path(self._layout.home).unlink(missing_ok=True)

    def _start_all(self) -> None:
        self._say("starting PostgreSQL")
        postgres.initialise(self._layout)
        self._start(components.database(self._layout))
        postgres.create_databases(self._layout)
        self._say("starting MLflow and bringing the databases up to date")
        self._start(components.mlflow(self._layout))
        self._migrate()
        self._say("starting Airflow and the prediction service")
        for component in (*components.airflow(self._layout), components.serving(self._layout)):
            self._start(component)
        self._wait_healthy()

    def _start(self, component: Component) -> None:
        path = components.log_path(self._layout, component.name)
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                component.command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **postgres.become(component.user),
                cwd="/" if component.user else self._layout.home,
                preexec_fn=end_with_parent,
            )
        self._running.setdefault(component.name, _Running(component, process)).process = process
        self._publish("starting")

    def _migrate(self) -> None:
        """Schemas are looked at only when the environment has changed since the last start."""
        stamp = self._layout.home / "migrated"
        locks = Path(sys.prefix) / "ratchet-locks"
        wanted = locks.read_text() if locks.exists() else ""
        if wanted and stamp.exists() and stamp.read_text() == wanted:
            migrations = components.migrations()[1:]
        else:
            migrations = components.migrations()
        for command in migrations:
            path = components.log_path(self._layout, "migrate")
            with path.open("ab") as log:
                done = subprocess.run(  # noqa: S603
                    command, check=False, env=self._environ, stdout=log, stderr=log, preexec_fn=end_with_parent
                )
            if done.returncode:
                message = f"{' '.join(command[1:])} failed (exit status {done.returncode}); see {path}\n{_tail(path)}"
                raise StackError(message)
        stamp.write_text(wanted)

    def _wait_healthy(self, timeout_s: float = 180) -> None:
        deadline = time.monotonic() + timeout_s
        waiting = dict(self._running)
        while waiting:
            waiting = {name: running for name, running in waiting.items() if not running.component.is_healthy()}
            self._restart_crashed()
            if time.monotonic() > deadline:
                name = next(iter(waiting))
                path = components.log_path(self._layout, name)
                message = f"{', '.join(waiting)} not healthy after {timeout_s:g} s; see {path}\n{_tail(path)}"
                raise StackError(message)
            time.sleep(0.3)

    def _restart_crashed(self) -> None:
        for name, running in self._running.items():
            status = running.process.poll()
            if status is None:
                continue
            now = time.monotonic()
            if running.retry_at == 0:
                running.restarts += 1
                if running.restarts > _MAX_RESTARTS:
                    path = components.log_path(self._layout, name)
                    message = f"{name} crashed {running.restarts} times; see {path}\n{_tail(path)}"
                    raise StackError(message)
                delay = min(30.0, 2.0 ** (running.restarts - 1))
                running.retry_at = now + delay
                self._say(f"{name} ended (exit status {status}); restarting it in {delay:g} s")
                end_group(running.process.pid)
            elif now >= running.retry_at:
                running.retry_at = 0
                self._start(running.component)
                self._publish("healthy")

    def _stop_all(self) -> None:
        """Ask in reverse order of start, PostgreSQL last, as the others still write to it; then insist."""
        database = [running for name, running in self._running.items() if name == "postgres"]
        others = [running for name, running in self._running.items() if name != "postgres"]
        for group in (others, database):
            for running in reversed(group):
                with contextlib.suppress(ProcessLookupError):
                    running.process.send_signal(running.component.stop_signal)
            deadline = time.monotonic() + _GRACE_S
            for running in group:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.process.wait(max(0.1, deadline - time.monotonic()))
                end_group(running.process.pid)

    def _publish(self, status: str) -> None:
        """Say to other processes what runs."""
        parts = {
            name: {"pid": running.process.pid, "restarts": running.restarts} for name, running in self._running.items()
        }
        path = state_path(self._layout.home)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"pid": os.getpid(), "status": status, "components": parts}))
        temporary.replace(path)


def state_path(home: Path) -> Path:
    """The file in which a running supervisor says what runs."""
    return home / "stack.json"


def end_group(leader: int) -> None:
    """Kill what is left of a component's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def sweep(home: Path) -> int:
    """Kill every process of the stack but this one and its ancestors; returns how many there were."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    left = [process for process in _marked(str(home)) if process.pid not in spared]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return len(left)


def _marked(home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, IndexError):
            # Airflow's workers write their title over their environment; they are known by where they stand.
            is_worker = process.cmdline()[0].startswith("airflow ") and process.cwd() == home
            is_ours = is_worker or process.environ().get(MARK) == home
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Hold the stack. The kernel lets go of it when the holder dies, so it is never stale."""
    with (home / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another stack runs in {home}; see ./ratchet status"
            raise StackError(message) from None
        yield


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
