"""What the tests need that start more of Airflow than its DAGs: its database, and servers inside the test."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import warnings


@functools.cache
def migrate() -> None:
    """Make the schema in the tests' own SQLite file, once; in a process of its own, as it reconfigures logging."""
    os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = (
        "a secret for signing tokens has to be 64 bytes long, or there is a word"
    )
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    with warnings.catch_warnings():
        # Airflow's servers import starlette's test client, which asks for another HTTP library.
        warnings.simplefilter("ignore")
        import starlette.testclient  # noqa: F401
