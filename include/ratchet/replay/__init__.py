"""Answering a recorded request again, exactly, or with another version."""
