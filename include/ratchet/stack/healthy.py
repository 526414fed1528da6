"""`python -m include.ratchet.stack.healthy URL PART`: exit status 0 if Airflow says that a part of it is well."""

from __future__ import annotations

import sys

from include.ratchet.stack.components import reports_healthy

if __name__ == "__main__":
    url, part = sys.argv[1:]
    sys.exit(not reports_healthy(f"{url}/api/v2/monitor/health", part))
