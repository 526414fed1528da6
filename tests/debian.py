"""Debian's programs for tests, on a machine like the CI's installed first."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


def need(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Have the programs on the path."""
    if all(map(shutil.which, programs)):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        message = f"no {' or '.join(programs)}; tests need them: apt-get install {' '.join(packages)}"
        raise AssertionError(message)
    for line in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "-q", *line], check=True, capture_output=True, env=environ)
