"""What every step works with: the installation, the model, and a folder of the store for one run's results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.blobs import Blobs, open_blobs
from include.ratchet.data.connections import Connections
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, get_model


@dataclass(frozen=True)
class Workspace:
    """One installation as a step sees it.

    Attributes:
        settings: where things are.
        connections: addresses and credentials of sources.
        clock: what time it is; asked only for what is recorded, never for what is decided.
        scratch: where the steps of a training leave their results, if not in the store: those of a segment, all of
            whose steps run in one process, stay in its memory.
        part: the segment's rows of the snapshot, likewise.
    """

    settings: Settings
    connections: Connections
    clock: Callable[[], datetime] = field(repr=False)
    scratch: Blobs | None = field(default=None, repr=False)
    part: pa.Table | None = field(default=None, repr=False)

    def model(self, name: str) -> Model:
        """A model by name."""
        return get_model(self.settings.models_dir, name)

    def folder(self, key: ModelKey, training_id: str) -> RunFolder:
        """Where a training keeps its results."""
        return RunFolder(self.scratch or open_blobs(self.settings), key, training_id)


class RunFolder:
    """Results of one training of one model key, by name."""

    def __init__(self, blobs: Blobs, key: ModelKey, training_id: str) -> None:
        self._blobs = blobs
        self.path = f"runs/{key.slug}/{training_id.replace(':', '').replace('+', '_').replace('/', '_')}"

    def put(self, name: str, content: bytes) -> str:
        """Write a result whole; returns its address."""
        self._blobs.put(f"{self.path}/{name}", content)
        return self._blobs.address(f"{self.path}/{name}")

    def put_new(self, name: str, content: bytes) -> bool:
        """Write a result unless there is one; returns whether there was none."""
        return self._blobs.put_new(f"{self.path}/{name}", content)

    def get(self, name: str) -> bytes | None:
        """A result, None if that step has not ended yet."""
        return self._blobs.get(f"{self.path}/{name}")

    def remove(self, name: str) -> None:
        """Remove a result that nobody needs any more."""
        self._blobs.remove(f"{self.path}/{name}")

    def need(self, name: str) -> bytes:
        """A result that an earlier step must have left.

        Raises:
            FileNotFoundError: it did not.
        """
        content = self.get(name)
        if content is None:
            message = (
                f"{self._blobs.address(self.path)}/{name} is missing; run the earlier steps of this training first"
            )
            raise FileNotFoundError(message)
        return content

    def put_json(self, name: str, content: Any) -> str:
        """Write a result as JSON."""
        return self.put(name, json.dumps(content, indent=1, default=str).encode())

    def need_json(self, name: str) -> Any:
        """A result that was written as JSON."""
        return json.loads(self.need(name))
