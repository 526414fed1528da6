"""What a model depends on: how reliable its sources are, what changed in them, what it needs, and what it does back."""
