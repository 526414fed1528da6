"""Monitoring: what is seen of a model in production, whether it has changed, and what is done about it.

    profile (of each partition) -> compare (with the champion's reference) -> judge -> report -> act

A partition is read once; everything after works on its mergeable profile.
"""
