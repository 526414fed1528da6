"""Great Expectations as a library: no telemetry, no progress bars, no noise in the log."""

from __future__ import annotations

import functools
import logging
from typing import Any

from include.ratchet.imports import without_spark


def load_expectations() -> Any:
    """The module `great_expectations.expectations`."""
    _prepare()
    import great_expectations.expectations as expectations

    return expectations


def open_context() -> Any:
    """A context that lives in memory and remembers nothing."""
    _prepare()
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


@functools.cache
def _prepare() -> None:
    """Import it quietly, once: it logs a line for each of hundreds of functions that it registers."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with without_spark():
        import great_expectations.expectations  # noqa: F401 - and all that belongs to it
