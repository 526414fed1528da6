"""The end of the stack, after all that runs on it."""

from __future__ import annotations

import psutil
import pytest

from include.ratchet.stack.control import read_status, stop_stack
from include.ratchet.stack.supervisor import sweep

pytestmark = pytest.mark.system


def test_stopping_leaves_nothing_behind(stack):
    home = stack.layout.home
    processes = psutil.Process(read_status(home).pid).children(recursive=True)
    assert len(processes) > 6
    assert stop_stack(home)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    assert sweep(home) == 0
    assert read_status(home).status == "stopped"
