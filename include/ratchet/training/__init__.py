"""How candidates are fitted: frames, splits, search, the final fit and its baselines, and reproduction."""
