"""A person's rows out of training sets, and out of what versions that learned from them keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.segments import part_of
from include.ratchet.data.snapshots import load_snapshot, replace_rows
from include.ratchet.erasure.tables import Mask
from include.ratchet.explanations.overview import BACKGROUND_ROWS, sample_evenly
from include.ratchet.registry.example import BACKGROUND, EXAMPLE, dump_array, dump_example
from include.ratchet.registry.rewrite import read_files, rewrite_files
from include.ratchet.registry.versions import Version, load_estimator
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import predict, steady
from include.ratchet.training.frames import class_codes, features_frame, label_array
from include.ratchet.training.split import split_rows

_EXAMPLES = ("model/input_example.json", "model/serving_input_example.json")


def purge_snapshots(
    settings: Settings, model: Model, find: Mask, versions: Sequence[Version]
) -> tuple[dict[str, int], list[Version]]:
    """Remove rows from every training set of a model, and from what versions keep of them.

    A training set goes last, after its versions: an attempt that is cut off finds them again.

    Returns:
        How many rows went, by the training set's id; and the versions that had learned from some of them.
    """
    gone: dict[str, int] = {}
    touched: list[Version] = []
    key, blobs = ModelKey(model.name), open_blobs(settings)
    for name in blobs.names(f"snapshots/{key.slug}"):
        if blobs.get(f"snapshots/{key.slug}/{name}/manifest.json") is None:
            continue  # what leads to them by what was asked
        snapshot = load_snapshot(key, name, settings)
        table = snapshot.read(verify=False)
        goes = find(table)
        if not goes.any():
            continue
        left = table.filter(pa.array(~goes))
        learned = [one for one in versions if one.lineage.snapshot == snapshot.id
                   and find(part_of(table, model.spec, one.key)).any()]  # fmt: skip
        for version in learned:
            refresh_version(settings, model, version, left)
        replace_rows(snapshot, left, settings)
        gone[snapshot.id] = int(goes.sum())
        touched += learned
    return gone, touched


def refresh_version(settings: Settings, model: Model, version: Version, left: pa.Table) -> None:
    """Make anew what a version keeps of its training set, from the rows that are left.

    Its estimator stays as it was fitted. The scores of a test row are the same bits as before.
    """
    estimator = load_estimator(model, version, settings)
    table = part_of(left, model.spec, version.key)
    split = split_rows(table, model.spec, version.as_of)
    every = features_frame(table, version.lineage.features)
    frame, background = every.iloc[split.test], sample_evenly(every.iloc[split.development], BACKGROUND_ROWS)
    classes, _ = class_codes(label_array(table, model.spec), model.spec.task)
    with steady(model):
        scores, behind = (predict(estimator, rows, model.spec.task, classes) for rows in (frame, background))
    fresh = {
        "test_scores.npy": dump_array(scores), EXAMPLE: dump_example(frame, scores),
        BACKGROUND: dump_example(background, behind, len(background)),
    }  # fmt: skip
    for path, content in read_files(version, settings):
        if path in _EXAMPLES:
            fresh[path] = _refill(content, frame)
    rewrite_files(version, fresh, settings)


def _refill(content: bytes, frame: Any) -> bytes:
    """MLflow's example with rows that are left in place of its own, in the same form."""
    held = json.loads(content)
    split = held.get("dataframe_split", held)
    rows = frame.iloc[: len(split["data"])]
    split["data"] = [
        [None if value != value else value for value in row] for row in rows[split["columns"]].to_numpy(object)
    ]
    return json.dumps(held).encode()
