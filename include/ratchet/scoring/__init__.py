"""Batch scoring: a partition's rows through the champion, recorded like a request's."""

from include.ratchet.scoring.batch import ScoringReport, find_champion, score_partitions

__all__ = ["ScoringReport", "find_champion", "score_partitions"]
