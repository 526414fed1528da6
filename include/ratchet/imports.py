"""Imports that must not take along what nobody asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_spark() -> Iterator[None]:
    """Import libraries as if Spark were not installed, unless it is loaded already.

    Where it is, some take it along, which costs seconds; and without its own extras its client ends a process that has
    no main module, such as a forked task, with the exit code of success.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not to be imported
    modules.setdefault("pyspark", None)
    try:
        yield
    finally:
        if modules["pyspark"] is None:
            del modules["pyspark"]
