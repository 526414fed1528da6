"""Tables of the monitoring benchmarks, and the file that they are written to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from include.ratchet.settings import PROJECT

RESULTS = PROJECT / "benchmarks" / "results" / "monitoring.md"
HEAD = """# Monitoring: false alarms, detection and speed

Other work shared the machine: seconds are of the processor unless they are called wall clock. Intervals: Wilson, 95 %.
"""
SECTIONS = {
    "False alarms": "false-alarms",
    "Detection": "detection",
    "Speed": "speed",
    "Fleets": "fleet",
    "Speed of a fleet": "fleet-speed",
}
"""Headings, with the command of each."""


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z, share = 1.959964, found / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def show_share(found: int, of: int) -> str:
    """A share with its interval: `1.2 % [0.7, 2.1]`."""
    if not of:
        return "-"
    low, high = wilson(found, of)
    return f"{found / of:.1%}".replace("%", " %") + f" [{100 * low:.1f}, {100 * high:.1f}]"


def render(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(one) for one in line) + " |" for line in lines) + "\n"


def write_section(name: str, text: str) -> None:
    """Put a section in its place among the others."""
    known = RESULTS.read_text() if RESULTS.exists() else ""
    parts = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", known, re.DOTALL | re.MULTILINE))
    today, cores = datetime.now(UTC).date(), os.cpu_count()
    command = f".venv/bin/python -m benchmarks.monitoring {SECTIONS[name]}"
    if name in ("False alarms", "Detection"):
        command += " --peers PYTHON"
    parts[name] = f"\nMeasured {today} on {cores} cores: `{command}`\n\n{text.strip()}\n\n"
    body = "\n".join(f"## {one}\n{parts[one].rstrip()}\n" for one in SECTIONS if one in parts)
    RESULTS.write_text(f"{HEAD}\n{body}")
