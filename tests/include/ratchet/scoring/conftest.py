"""The same life as replay's tests, with a store of each test's own."""

from tests.include.ratchet.replay.conftest import divide, lived, registered, workspace

__all__ = ["divide", "lived", "registered", "workspace"]
