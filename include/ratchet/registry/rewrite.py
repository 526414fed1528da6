"""Changing the files of registered versions: only for what must not be there any more."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from include.ratchet.registry.bundle import BUNDLE_TAG, pack
from include.ratchet.registry.submit import search_all
from include.ratchet.registry.versions import Version, client_of, version_of
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


def find_versions(model: str, settings: Settings) -> list[Version]:
    """Every version of a model and of its segments, oldest first."""
    client = client_of(settings)
    names = [one.name for one in search_all(client.search_registered_models, f"name LIKE '{model}%'")]
    own = [name for name in names if name.partition(".")[0] == model]
    found = [one for name in own for one in search_all(client.search_model_versions, f"name = '{name}'")]
    read = [version_of(ModelKey(*json.loads(one.tags["ratchet.lineage"])["key"]), one, settings) for one in found
            if "ratchet.lineage" in one.tags]  # fmt: skip
    return sorted(read, key=lambda version: (version.key, version.number))


def read_files(version: Version, settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Every file of a version, by the path that MLflow has it under; archives as they are."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as name:
        root = Path(download_artifacts(run_id=version.run_id, artifact_path="", dst_path=name,
                                       tracking_uri=settings.mlflow_url))  # fmt: skip
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(root)), path.read_bytes()


def rewrite_files(version: Version, files: Mapping[str, bytes], settings: Settings) -> None:
    """Put other content in place of some of a version's files, by their paths; of an archive, in it."""
    client, archive = client_of(settings), version.tags.get(BUNDLE_TAG)
    if archive is not None:
        held = dict(read_files(version, settings))
        with zipfile.ZipFile(io.BytesIO(held[archive])) as packed:
            members = {name: packed.read(name) for name in packed.namelist()}
        inside = {path: content for path, content in files.items() if not path.startswith("model/")}
        files = {**{path: one for path, one in files.items() if path not in inside}, archive: pack(members | inside)}
    with tempfile.TemporaryDirectory() as name:
        for path, content in files.items():
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        client.log_artifacts(version.run_id, name)
