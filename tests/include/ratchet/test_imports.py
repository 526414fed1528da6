"""Libraries are imported without Spark, wherever a task runs."""

from __future__ import annotations

import subprocess
import sys

FORKED = """
import os, sys
child = os.fork()
if child == 0:
    del sys.modules["__main__"]  # a forked task has none
    from include.ratchet.validation.library import load_expectations
    load_expectations()
    os._exit(7 if "pyspark" not in sys.modules else 8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_task_that_nothing_was_loaded_for_can_validate():
    done = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr
