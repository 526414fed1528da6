"""How good a candidate is, and whether that is good enough: intervals, slices, fairness, gates, the verdict."""
