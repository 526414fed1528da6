"""Features of rows as they come, whatever the joins were prepared from."""

from __future__ import annotations

import pyarrow as pa

from include.ratchet.features.assembly import Assembly
from include.ratchet.features.closing import Closing
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import complete_rows
from include.ratchet.features.schema import PREDICTION
from include.ratchet.spec import Model


class RowScorer(Closing):
    """Computes features of rows; close it, or use it in a `with` statement. One thread at a time.

    Args:
        model: whose features.
        engine: closed with the scorer.
        assembly: of the features, over that engine.
    """

    def __init__(self, model: Model, engine: Engine, assembly: Assembly) -> None:
        self._model, self._engine, self._assembly = model, engine, assembly

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def score(self, rows: pa.Table) -> pa.Table:
        """Keys, event time, `_prediction_time`, context columns and features of some rows, in their order.

        Raises:
            SchemaChangedError: a column that must not be null is missing.
        """
        spec = self._model.spec
        return self._assembly.assemble(complete_rows(self._model, rows), (*spec.keys, spec.event_time, PREDICTION))
