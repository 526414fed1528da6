"""A snapshot as DVC reads one: a `.dvc` file beside code, in the form that `dvc import-url` writes.

The file says where the snapshot's data lie in our store, how large they are and their MD5. `dvc update` brings them,
`dvc push` keeps them in a remote of one's own. https://dvc.org/doc/user-guide/project-structure/dvc-files
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from include.ratchet.data.snapshots import Snapshot
from include.ratchet.exports.files import write_file
from include.ratchet.registry.versions import Version


@dataclass(frozen=True)
class Pointer:
    """A `.dvc` file that was written.

    Attributes:
        path: of the file.
        address: where the snapshot's data lie.
        md5: of the data.
        size_bytes: of the data.
    """

    path: Path
    address: str
    md5: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"path": str(self.path), "address": self.address, "md5": self.md5, "size_bytes": self.size_bytes}


def write_pointer(version: Version, snapshot: Snapshot, folder: Path) -> Pointer:
    """Write the pointer to the training set of a version, named after both; the same again writes the same bytes.

    Raises:
        ExportError: the folder is none, or another file of that name is there.
        NotReproducibleError: the snapshot's data are gone, or not what they were.
    """
    snapshot.read()
    content = snapshot.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    name = f"{version.key.slug}-{version.number}.parquet"
    found = {"md5": md5, "size": len(content), "hash": "md5"}
    address = f"{snapshot.location}/data.parquet"
    document = {
        "frozen": True,
        "desc": f"Training set of version {version.number} of {version.key}, as of {version.as_of.isoformat()}",
        "deps": [{**found, "path": address}],
        "outs": [{**found, "path": name}],
        "meta": {"ratchet": {
            "model": version.key.model, "segment": version.key.segment, "version": version.number,
            "as_of": version.as_of.isoformat(), "snapshot": snapshot.id, "content_hash": snapshot.content_hash,
            "rows": snapshot.rows, "sources": dict(snapshot.sources),
        }},
    }  # fmt: skip
    path = folder / f"{name}.dvc"
    # DVC writes the file anew when it has fetched the data, with a checksum of its own.
    if not _points_to(path, document["outs"]):
        write_file(path, yaml.safe_dump(document, sort_keys=False).encode())
    return Pointer(path, address, md5, len(content))


def _points_to(path: Path, outs: Any) -> bool:
    try:
        return bool(yaml.safe_load(path.read_bytes())["outs"] == outs)
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return False
