"""Explanations of answers, for callers who ask: beside the predictions' way, by one thread, and bounded."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.ratchet.errors import OverloadError, RatchetError
from include.ratchet.serving.fitted import Fitted, load_background
from include.ratchet.serving.requests import Answer, Basis
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec
from include.ratchet.training.frames import features_frame

if TYPE_CHECKING:
    from include.ratchet.explanations.explainer import Explainer

_log = logging.getLogger(__name__)
MOST_ROWS = 100
"""Rows of one request that are explained."""
_ASKED_ROWS = 10
"""Of a version that cannot be taken apart, which takes thousands of predictions a row."""
_WAITING_ROWS = 400
_KEPT = 8
"""Versions whose explainers are kept, the most recently used."""
Count = Callable[[str, int], None]
"""Hears how many rows were explained by which method, or `failed`."""


class Explaining:
    """Explains rows that were answered. Nothing is imported, loaded or started before somebody asks.

    Args:
        settings: where the registry is.
        start_thread: called in the thread that explains, before all else.
    """

    def __init__(self, settings: Settings, start_thread: Callable[[], None]) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, "explain", initializer=start_thread)
        self._made: OrderedDict[tuple[ModelKey, int], Explainer] = OrderedDict()
        self._waiting_rows = 0

    def reserve(self, rows: int) -> None:
        """Take a place for a request, before it is answered; `release` gives it back.

        Raises:
            OverloadError: too much waits already.
        """
        if self._waiting_rows and self._waiting_rows + rows > _WAITING_ROWS:
            message = (
                f"{self._waiting_rows} rows wait to be explained, more than {_WAITING_ROWS} are not taken; try again, "
                "or ask without explain"
            )
            raise OverloadError(message)
        self._waiting_rows += rows

    def release(self, rows: int) -> None:
        """Give a place back."""
        self._waiting_rows -= rows

    async def explain(self, spec: ModelSpec, answer: Answer, count: Count) -> list[dict[str, Any]]:
        """By row of an answer, what each column contributed to it, or why that cannot be said."""
        if answer.basis is None:
            why = f"it was answered before: ./ratchet replay {answer.content['request_id']} --explain tells it"
            return [{"row": row, "not_explained": why} for row in range(len(answer.content["predictions"]))]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._explain, spec, answer.basis, count)

    def close(self) -> None:
        """End what is being explained, and take nothing more."""
        self._pool.shutdown(cancel_futures=True)

    def _explain(self, spec: ModelSpec, basis: Basis, count: Count) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{"row": row, "not_explained": "its answer is left to a person, or withheld"}
                                       for row in range(len(basis.answered_by))]  # fmt: skip
        groups: dict[tuple[ModelKey, int], list[int]] = {}
        for row, by in enumerate(basis.answered_by):
            if by is not None:
                groups.setdefault((by[0], by[1].number), []).append(row)
        for (key, number), rows in groups.items():
            by = basis.answered_by[rows[0]]
            told = self._explain_rows(spec, key, by[1], basis.features.take(pa.array(rows)), count) if by else []
            for row, one in zip(rows, told, strict=True):
                found[row] = {"row": row, "version": number, **one}
        return found

    def _explain_rows(
        self, spec: ModelSpec, key: ModelKey, fitted: Fitted, features: pa.Table, count: Count
    ) -> Sequence[dict[str, Any]]:
        try:
            explainer = self._open(spec, key, fitted)
            taken = features.num_rows if explainer.is_structural else min(features.num_rows, _ASKED_ROWS)
            attribution = explainer.explain(features_frame(features.slice(0, taken), fitted.features))
        except Exception as error:  # the prediction stands, whatever becomes of its explanation
            _log.exception("%s@%s cannot be explained", key, fitted.number)
            count("failed", features.num_rows)
            word = str(error) if isinstance(error, RatchetError) else type(error).__name__
            return [{"not_explained": word}] * features.num_rows
        count(attribution.method, taken)
        why = f"its version is asked from outside, for {_ASKED_ROWS} rows of a request: send this one by itself"
        return [*attribution.to_rows(), *[{"not_explained": why}] * (features.num_rows - taken)]

    def _open(self, spec: ModelSpec, key: ModelKey, fitted: Fitted) -> Explainer:
        """A version's explainer, made on first use. Only the one thread comes here."""
        from include.ratchet.explanations.explainer import Explainer

        name = (key, fitted.number)
        if name not in self._made:
            background = load_background(key, fitted.number, self._settings)[list(fitted.features)]
            self._made[name] = Explainer(fitted.estimator, background, spec.task, spec.training.seed)
        self._made.move_to_end(name)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return self._made[name]
