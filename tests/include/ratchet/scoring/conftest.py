"""The same life as replay's tests, with a store of each test's own."""

from tests.include.ratchet.replay.conftest import lived, workspace

__all__ = ["lived", "workspace"]
