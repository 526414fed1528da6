"""Reading specs: YAML to a frozen `Model`, with errors that say where, what, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from include.ratchet.errors import ModelNotFoundError, SpecError
from include.ratchet.spec.model import Model, ModelSpec

SPEC_FILE = "model.yaml"
_TAGS = {"int", "float", "choice", "[key]"}
"""Parts of pydantic's locations that are no keys of the file."""

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # a PyYAML without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


class _Loader(_SafeLoader):
    """A safe loader, in C where there is one, that takes no key twice: YAML lets the last one win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and name != "<<":
                message = f"{line}: {name}: stands twice, first in line {lines[name]}. Take one of them out."
                raise SpecError(message)
            lines[name] = line
        return super().construct_mapping(node, deep)


def find_models(models_dir: Path) -> list[Path]:
    """The folders that hold a spec, by name."""
    return sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))


def load_model(folder: Path) -> Model:
    """Read and check one model's folder.

    Raises:
        SpecError: the file is not YAML, breaks the schema, or names another model than its folder.
    """
    path = folder / SPEC_FILE
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
    except SpecError as error:
        message = f"{path}:{error}"
        raise SpecError(message) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        message = f"{path}: cannot be read as YAML: {error}"
        raise SpecError(message) from error
    if not isinstance(raw, dict):
        message = f"{path}: found {type(raw).__name__} at the top; expected keys and values, beginning with `name:`"
        raise SpecError(message)
    try:
        spec = ModelSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(_explain(path, text, raw, error)) from None
    if spec.name != folder.name:
        message = (
            f"{path}:{_line(text, ('name',))}: name: found {spec.name!r}; expected the folder's name {folder.name!r}. "
            "Rename one of the two."
        )
        raise SpecError(message)
    return Model(spec=spec, folder=folder)


def load_models(models_dir: Path) -> dict[str, Model | SpecError]:
    """Every model of the project by folder name; a broken spec gives its error and leaves the others alone."""
    found: dict[str, Model | SpecError] = {}
    for folder in find_models(models_dir):
        try:
            found[folder.name] = load_model(folder)
        except SpecError as error:
            found[folder.name] = error
    return found


def get_model(models_dir: Path, name: str) -> Model:
    """One model by name.

    Raises:
        ModelNotFoundError: there is no folder of that name.
        SpecError: its spec is not valid.
    """
    if not (models_dir / name / SPEC_FILE).is_file():
        known = [folder.name for folder in find_models(models_dir)]
        message = f"no model {name!r} in {models_dir}{_suggest(name, known)}"
        raise ModelNotFoundError(message)
    return load_model(models_dir / name)


def _explain(path: Path, text: str, raw: Any, error: ValidationError) -> str:
    problems = [_explain_one(path, text, dict(problem)) for problem in error.errors(include_url=False)]
    head = f"{len(problems)} problems in {path}:\n" if len(problems) > 1 else ""
    return head + "\n".join(dict.fromkeys(problems))


def _explain_one(path: Path, text: str, problem: dict[str, Any]) -> str:
    location = tuple(part for part in problem["loc"] if part not in _TAGS)
    key = ".".join(str(part) for part in location) or "spec"
    where = f"{path}:{_line(text, location)}: {key}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location)
        return f"{where}: no such key{_suggest(str(location[-1]), known)} Expected one of: {', '.join(known)}."
    if problem["type"] == "missing":
        return f"{where}: missing; expected {_expectation(location)} Add it."
    found = problem["input"]
    if isinstance(found, dict | BaseModel):
        return f"{where}: {message}"
    near = _suggest(str(found), _alternatives(problem)) if problem["type"] == "literal_error" else ""
    return f"{where}: found {found!r}; {message[:1].lower()}{message[1:]}{near}"


def _alternatives(problem: dict[str, Any]) -> list[str]:
    expected = str(problem.get("ctx", {}).get("expected", ""))
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else "."


def _fields(location: tuple[Any, ...]) -> Iterator[type[BaseModel]]:
    """The section classes that a path of keys leads through."""
    section: type[BaseModel] = ModelSpec
    yield section
    for part in location:
        field = section.model_fields.get(str(part))
        annotation = field.annotation if field else None
        nested = [a for a in _unfold(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
        if nested:
            section = nested[0]
            yield section


def _unfold(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _unfold(argument)


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    return list(list(_fields(location[:-1]))[-1].model_fields)


def _expectation(location: tuple[Any, ...]) -> str:
    field = list(_fields(location[:-1]))[-1].model_fields.get(str(location[-1]))
    if field is None or not field.description:
        return "a value."
    return field.description.splitlines()[0][:1].lower() + field.description.splitlines()[0][1:]


def _line(text: str, location: tuple[Any, ...]) -> int:
    """The line on which the deepest key of a path that exists is written, from 1."""
    node = yaml.compose(text, Loader=_Loader)
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            match = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if match is None:
                break
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
