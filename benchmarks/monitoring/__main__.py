"""How often monitoring cries wolf, what it finds and how soon, and how fast it is, beside other tools.

.venv/bin/python -m benchmarks.monitoring WHAT [--quick] [--peers PYTHON] [--jobs 2]

WHAT is false-alarms, detection, speed, or, of fleets, fleet or fleet-speed. `--peers` is the interpreter of an
environment with `nannyml`, `statsmodels` and `river`; without it their columns are left out. Evidently is in the
project's own environment.
"""

from __future__ import annotations

import argparse
import importlib
import os


def main() -> None:
    """Run one of them."""
    # One thread for each process: a process for each core is faster, and processor times stay comparable.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(prog="benchmarks.monitoring", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["false-alarms", "detection", "speed", "fleet", "fleet-speed"])
    parser.add_argument("--quick", action="store_true", help="a small part, printed only")
    parser.add_argument("--peers", help="Python of an environment with nannyml, statsmodels and river")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", help="file for the single results, as JSON")
    parser.add_argument("--folder", help="speed: folder for the records; a temporary one if left out")
    options = parser.parse_args()
    module = importlib.import_module(f"benchmarks.monitoring.{options.what.replace('-', '_')}")
    module.run(options)


if __name__ == "__main__":
    main()
