"""How Airflow names and times the partitions of a spec."""

from __future__ import annotations

CRON = {"day": "0 0 * * *", "hour": "0 * * * *"}
KEY_FORMAT = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}
