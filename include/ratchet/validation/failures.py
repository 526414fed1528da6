"""Which partitions broke an expectation, off the results that validation has kept."""

from __future__ import annotations

import json
from collections.abc import Iterable

from include.ratchet.data.blobs import open_blobs
from include.ratchet.settings import Settings
from include.ratchet.validation.subjects import folder_of


def read_failures(settings: Settings, model: str, table: str, keys: Iterable[str]) -> frozenset[str]:
    """The partitions, of some, of which an expectation of severity `fail` did not hold in any run.

    One that was validated together with others is not among them: what broke then is not told by partition.
    """
    blobs, found = open_blobs(settings), set()
    known = set(blobs.names(f"validation/{model}/{table}"))
    for key in keys:
        folder = folder_of(model, table, key)
        for run in blobs.names(folder) if folder.rpartition("/")[2] in known else ():
            content = blobs.get(f"{folder}/{run}/results.json")
            if content is not None and not json.loads(content)["passed"]:
                found.add(key)
    return frozenset(found)
