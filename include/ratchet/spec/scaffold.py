"""A new model's folder, made from a template that passes `check` and trains as it is."""

from __future__ import annotations

import re
from pathlib import Path

from include.ratchet.errors import SpecError

TEMPLATE = Path(__file__).with_name("template")


def make_model(models_dir: Path, name: str) -> Path:
    """Make the folder of a new model.

    Raises:
        SpecError: the name cannot be a model's, or there is such a folder already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        message = f"name: found {name!r}; expected small letters, digits and underscores, such as order_returns"
        raise SpecError(message)
    folder = models_dir / name
    if folder.exists():
        message = f"{folder} is there already; choose another name, or remove the folder"
        raise SpecError(message)
    folder.mkdir(parents=True)
    for source in sorted(TEMPLATE.iterdir()):
        if source.is_file():
            text = source.read_text(encoding="utf-8")
            (folder / source.name).write_text(text.format(name=name) if source.suffix == ".yaml" else text)
    return folder
