"""The users' room: one folder a model."""
