"""Writing what others read into a folder of theirs, without overwriting what is not ours."""

from __future__ import annotations

from pathlib import Path

from include.ratchet.errors import ExportError


def write_file(path: Path, content: bytes, *, is_data: bool = False) -> None:
    """Write a file into a folder, which is made if there is none; the same content again changes nothing.

    Args:
        path: of the file.
        content: of the file.
        is_data: data of an earlier export are replaced; anything else of another content is somebody's work.

    Raises:
        ExportError: the folder cannot be written to, or another file of that name is there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_data and path.exists() and path.read_bytes() != content:
            message = f"{path}: found a file of other content; expected none. Remove it, or give another folder by --to"
            raise ExportError(message)
        path.write_bytes(content)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        message = f"{path}: {error.strerror}; expected a folder that can be written to. Give another by --to"
        raise ExportError(message) from error
