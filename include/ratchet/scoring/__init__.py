"""Batch scoring: a partition's rows through the champion, or their segments' champions, recorded like requests."""

from include.ratchet.scoring.batch import ScoringReport, find_champion, score_partitions
from include.ratchet.scoring.champions import find_champions

__all__ = ["ScoringReport", "find_champion", "find_champions", "score_partitions"]
