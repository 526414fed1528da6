"""The Python files of a model's folder: loaded by path, without touching `sys.path`."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from include.ratchet.errors import SpecError
from include.ratchet.spec.model import Model

_LOCK = RLock()


def load_function(model: Model, file: str, name: str) -> Callable[..., Any]:
    """A function that one of a model's own files defines, such as `features` in `features.py`.

    A file is run once; it is run again when its text has changed.

    Raises:
        SpecError: there is no such file or function, or the file cannot be imported.
    """
    path = model.folder / file
    module = _load_module(model, path)
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    functions = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
    near = difflib.get_close_matches(name, functions, 1, 0.6)
    defined = f"found {type(found).__name__}" if found is not None else "no such function"
    hint = f"did you mean {near[0]!r}?" if near else f"Add `def {name}(...)` to the file."
    message = f"{path}: {name}: {defined}; expected a function. {hint}"
    raise SpecError(message)


def has_function(model: Model, file: str, name: str) -> bool:
    """Whether one of a model's own files defines a function."""
    return callable(getattr(_load_module(model, model.folder / file), name, None))


def _load_module(model: Model, path: Path) -> ModuleType:
    try:
        text = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); model {model.name!r} needs this file. Add it."
        raise SpecError(message) from error
    digest = hashlib.sha256(text).hexdigest()
    with _LOCK:
        name = _module_name(model, path)
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__ratchet_digest__", None) == digest:
            return known
        return _run_file(name, path, text, digest)


def _module_name(model: Model, path: Path) -> str:
    """Unique to the file, as two folders may hold models of one name (tests, a scaffold beside the original)."""
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f"ratchet_model_{model.name}_{path.stem}_{place}"


def _run_file(name: str, path: Path, text: bytes, digest: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        message = f"{path}: found the ending {path.suffix!r}; expected a Python file, ending in .py"
        raise SpecError(message)
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up here
    try:
        # Compiled from the bytes just read: a cached .pyc is matched by time in seconds and may be older than the text.
        exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102
    except Exception as error:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        message = f"{path}: cannot be imported: {type(error).__name__}: {error}"
        raise SpecError(message) from error
    vars(module)["__ratchet_digest__"] = digest
    return module
