"""Airflow's own database, for the tests that need more of Airflow than its DAGs."""

from __future__ import annotations

import functools
import subprocess
import sys


@functools.cache
def migrate() -> None:
    """Make the schema in the tests' own SQLite file, once; in a process of its own, as it reconfigures logging."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
