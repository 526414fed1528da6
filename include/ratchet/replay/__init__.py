"""Answering a recorded request again, exactly, or with another version."""

from include.ratchet.replay.find import Selection, find_records
from include.ratchet.replay.report import ReplayReport, replay

__all__ = ["ReplayReport", "Selection", "find_records", "replay"]
