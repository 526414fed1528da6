"""Writers that meet, and writers that die: real processes, real signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.ratchet.data.tables import Table, retry_commits
from include.ratchet.errors import CommitConflictError
from include.ratchet.settings import PROJECT, Settings
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import land_day, land_days, landed_rows, make_settings, order, write_rows

JANUARY = [order(number, 1 + number // 50) for number in range(400)]
LAND = """
import sys
from pathlib import Path
from include.ratchet.spec import load_model
from tests.include.ratchet.data.orders import land_day, make_settings
folder, numbers = Path(sys.argv[1]), [int(number) for number in sys.argv[2].split(",")]
model, settings = load_model(folder / "models" / "orders"), make_settings(folder)
print("ready", flush=True)
sys.stdin.readline()
for number in numbers:
    land_day(model, number, settings)
"""
LAND_FOREVER = """
import sys
from pathlib import Path
from include.ratchet.spec import load_model
from tests.include.ratchet.data.orders import land_days, make_settings, order, write_rows
folder = Path(sys.argv[1])
model, settings = load_model(folder / "models" / "orders"), make_settings(folder)
amount = int(sys.argv[2])
while True:
    amount = (amount + 1) % 1000
    write_rows(model, [order(n, 1 + n // 50, amount=float(amount)) for n in range(400)])
    land_days(model, range(1, 9), settings)
    print(amount, flush=True)
"""


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run_together(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_processes_on_the_same_days_give_the_table_of_one(tmp_path: Path, model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    _run_together([_start(LAND, str(tmp_path), "3,4") for _ in range(3)])
    alone = make_settings(tmp_path / "alone")
    for number in (3, 4):
        land_day(model, number, alone)
    assert landed_rows(model, settings).equals(landed_rows(model, alone))


@pytest.mark.parametrize("is_there", [False, True], ids=["new-table", "old-table"])
def test_many_runs_at_once_lose_and_double_nothing(tmp_path: Path, model: Model, is_there: bool) -> None:
    """Threads meet more closely than processes: all of them are in the same commit, again and again."""
    write_rows(model, JANUARY)
    for attempt in range(8):
        settings = make_settings(tmp_path / str(attempt))
        if is_there:
            land_day(model, 1, settings)
        barrier = threading.Barrier(4)

        def land_late(number: int, barrier: threading.Barrier = barrier, settings: Settings = settings) -> None:
            barrier.wait()
            land_day(model, number, settings)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(land_late, [5, 5, 5, 8]))
        counts = Table(settings, "orders", "orders").row_counts()
        assert counts == {"2024-01-05": 50, "2024-01-08": 50, **({"2024-01-01": 50} if is_there else {})}


def test_neighbours_landed_at_once_merge_each_others_labels(tmp_path: Path, model: Model) -> None:
    """Neither run sees the other's day when it begins; the labels are there all the same."""
    write_rows(model, JANUARY)
    alone = make_settings(tmp_path / "alone")
    land_days(model, [3, 4, 5], alone)
    for attempt in range(8):
        settings = make_settings(tmp_path / str(attempt))
        barrier = threading.Barrier(3)

        def land_late(number: int, barrier: threading.Barrier = barrier, settings: Settings = settings) -> None:
            barrier.wait()
            land_day(model, number, settings)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(land_late, [3, 4, 5]))
        assert landed_rows(model, settings).equals(landed_rows(model, alone))


def test_a_killed_writer_leaves_no_half_visible_table(tmp_path: Path, model: Model, settings: Settings) -> None:
    """One commit replaces eight partitions with one amount; whatever the moment of death, there is one amount."""
    write_rows(model, JANUARY)
    land_days(model, range(1, 9), settings)
    for kill in range(6):
        process = _start(LAND_FOREVER, str(tmp_path), str(100 * kill))
        assert process.stdout is not None
        assert process.stdout.readline(), process.stderr.read() if process.stderr else ""
        time.sleep(random.Random(kill).uniform(0.0, 0.2))  # noqa: S311
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        rows = landed_rows(model, settings)
        assert rows.num_rows == 400
        assert len(set(rows["amount"].to_pylist())) == 1
    write_rows(model, JANUARY)
    land_days(model, range(1, 9), settings)
    assert sorted(landed_rows(model, settings)["amount"].to_pylist()) == [float(number) for number in range(400)]


def test_a_writer_that_never_wins_says_so() -> None:
    from deltalake.exceptions import CommitFailedError

    def lose() -> None:
        raise CommitFailedError

    with pytest.raises(CommitConflictError, match="orders: other writers won 3 commits in a row"):
        retry_commits(lose, "orders", attempts=3)


def test_a_commit_on_an_old_basis_is_refused(model: Model, settings: Settings) -> None:
    """What `retry_commits` stands on: of two writers that read the same version, the second one is told."""
    from deltalake.exceptions import CommitFailedError

    write_rows(model, JANUARY)
    land_days(model, [1, 2], settings)
    table = Table(settings, "orders", "orders")
    rows = table.read(["2024-01-01"])
    basis = [table.open(), table.open()]
    table.commit(basis[0], rows, ["2024-01-01"], {}, {})
    with pytest.raises(CommitFailedError):
        table.commit(basis[1], rows, ["2024-01-01"], {}, {})
