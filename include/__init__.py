"""What the DAGs stand on: the engine in `ratchet/` and the users' models in `models/`."""
