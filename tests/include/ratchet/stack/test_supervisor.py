"""The supervisor with small processes in place of servers: it restarts, gives up, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[4]
PROGRAM = """
import os, sys, time
from pathlib import Path
from include.ratchet.stack import components, postgres, supervisor
from include.ratchet.stack.components import Component
from include.ratchet.stack.layout import open_layout

home, worker = Path(sys.argv[1]), sys.argv[2]
script = {
    # A worker with a child of its own, as the scheduler has.
    "steady": "import subprocess as s, sys, time; s.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); "
              "time.sleep(99)",
    "failing": "import sys; sys.exit('cannot start today')",
}[worker]
postgres.initialise = lambda layout: None
postgres.create_databases = lambda layout: None
components.migrations = lambda: ()
always = lambda: True
def part(name, text):
    return Component(name, (sys.executable, "-c", text), always)
components.database = lambda layout: part("postgres", "import time; time.sleep(99)")
components.mlflow = lambda layout: part("mlflow", "import time; time.sleep(99)")
components.airflow = lambda layout: (part("scheduler", script),)
components.serving = lambda layout: part("serving", "import time; time.sleep(99)")
supervisor._MAX_RESTARTS = 1
def say(line="healthy"):
    print(line, flush=True)
supervisor.Supervisor(open_layout(home), os.environ, say).run(say)
"""


class Fake:
    """A supervisor of small processes in a process of its own."""

    def __init__(self, home: Path, worker: str = "steady") -> None:
        environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home), worker], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environ, start_new_session=True,
        )  # fmt: skip

    def read_until(self, words: str) -> str:
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if words in line:
                return "".join(seen)
        raise AssertionError("".join(seen))

    def pid_of(self, name: str) -> int:
        return json.loads((self.home / "stack.json").read_text())["components"][name]["pid"]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> str:
        rest = self.process.stdout.read()
        self.process.stdout.close()
        self.process.wait(20)
        return rest


def none_left(family: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(family, timeout=10)
    return alive == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_end_takes_everybody_along_and_leaves_no_lock(tmp_path, number):
    fake = Fake(tmp_path)
    fake.read_until("healthy")
    time.sleep(1)
    family = fake.family()
    assert len(family) == 5
    fake.process.send_signal(number)
    fake.close()
    assert none_left(family)
    assert not (tmp_path / "stack.json").exists()
    again = Fake(tmp_path)
    again.read_until("healthy")
    again.process.terminate()
    again.close()


def test_supervisor_that_is_killed_leaves_nobody_that_the_next_start_does_not_end(tmp_path):
    fake = Fake(tmp_path)
    fake.read_until("healthy")
    time.sleep(1)
    family = fake.family()
    fake.process.kill()
    fake.close()
    again = Fake(tmp_path)
    again.read_until("healthy")
    assert none_left(family)
    again.process.terminate()
    again.close()


def test_crashed_part_is_restarted_and_said(tmp_path):
    fake = Fake(tmp_path)
    fake.read_until("healthy")
    before = fake.pid_of("mlflow")
    os.kill(before, signal.SIGKILL)
    assert "restarting it in 1 s" in fake.read_until("mlflow ended (exit status -9)")
    deadline = time.monotonic() + 20
    while fake.pid_of("mlflow") == before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert psutil.pid_exists(fake.pid_of("mlflow"))
    fake.process.terminate()
    fake.close()


def test_part_that_keeps_crashing_ends_the_stack_with_its_words(tmp_path):
    fake = Fake(tmp_path, "failing")
    words = fake.close()
    assert "scheduler crashed 2 times" in words
    assert "cannot start today" in words
    assert fake.process.returncode != 0


def test_second_supervisor_of_a_home_is_refused(tmp_path):
    fake = Fake(tmp_path)
    fake.read_until("healthy")
    second = Fake(tmp_path)
    assert "another stack runs" in second.close()
    assert fake.process.poll() is None
    fake.process.terminate()
    fake.close()
