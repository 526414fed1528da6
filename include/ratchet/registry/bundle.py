"""Where a version's files lie: each by itself, or, of a segment, all but the model in one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

BUNDLE_TAG, BUNDLE = "ratchet.bundle", "details.zip"


@dataclass(frozen=True)
class Place:
    """Where one file is.

    Attributes:
        artifact: path of the artifact that it is, or that holds it.
        member: its name in that archive; None if it is the artifact.
    """

    artifact: str
    member: str | None = None

    def read(self, content: bytes) -> bytes:
        """The file, from the artifact's content.

        Raises:
            KeyError: the archive has no such file.
        """
        if self.member is None:
            return content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(self.member)


def locate(tags: Mapping[str, str], path: str) -> Place:
    """Where a version with some tags has a file. The model of an archived one lies in MLflow's own folder only."""
    if BUNDLE_TAG not in tags:
        return Place(path)
    if path.startswith("fitted/"):
        return Place(f"model/{path.removeprefix('fitted/')}")
    return Place(tags[BUNDLE_TAG], path)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files as one archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, held in files.items():
            archive.writestr(path, held)
    return content.getvalue()
