"""Astronomer's `airflow_settings.yaml`, applied to a running Airflow: its connections, pools and variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from include.ratchet.errors import StackError
from include.ratchet.stack.client import AirflowClient

_NAME = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _read_extra(found: Any) -> Any:
    return json.loads(found) if isinstance(found, str) and found else found or {}


Text = Annotated[str, BeforeValidator(lambda found: "" if found is None else str(found))]
Filled = Annotated[Text, Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Connection(_Entry):
    """One connection; a key without a value is as if it were not there."""

    conn_id: Filled
    conn_type: Filled
    conn_host: Text = ""
    conn_schema: Text = ""
    conn_login: Text = ""
    conn_password: Text = ""
    conn_port: int | None = None
    conn_extra: Annotated[dict[str, Any], BeforeValidator(_read_extra)] = {}

    def body(self) -> dict[str, Any]:
        """As Airflow's API takes it."""
        return {
            "connection_id": self.conn_id, "conn_type": self.conn_type, "host": self.conn_host or None,
            "schema": self.conn_schema or None, "login": self.conn_login or None,
            "password": self.conn_password or None, "port": self.conn_port,
            "extra": json.dumps(self.conn_extra) if self.conn_extra else None,
        }  # fmt: skip


class Pool(_Entry):
    """One pool."""

    pool_name: Filled
    pool_slot: int = Field(ge=-1)
    pool_description: Text = ""

    def body(self) -> dict[str, Any]:
        """As Airflow's API takes it."""
        return {"name": self.pool_name, "slots": self.pool_slot, "description": self.pool_description,
                "include_deferred": False}  # fmt: skip


class Variable(_Entry):
    """One variable."""

    variable_name: Filled
    variable_value: Text = ""

    def body(self) -> dict[str, Any]:
        """As Airflow's API takes it."""
        return {"key": self.variable_name, "value": self.variable_value}


_KINDS: dict[str, type[Connection | Pool | Variable]] = {
    "connections": Connection, "pools": Pool, "variables": Variable,
}  # fmt: skip


@dataclass(frozen=True)
class AirflowSettings:
    """What the file asks for.

    Attributes:
        bodies: by kind, as Airflow's API takes them.
        left_out: what is not asked for, with the reason.
    """

    bodies: Mapping[str, list[dict[str, Any]]]
    left_out: tuple[str, ...]


def read_airflow_settings(path: Path, environ: Mapping[str, str]) -> AirflowSettings:
    """Read the file.

    Args:
        path: of the file.
        environ: where `${NAME}` and `${NAME:-default}` are looked up; an entry with a name that is not there is left
            out.

    Raises:
        StackError: it is no such file; the message names the entry, what was found and what is expected.
    """
    try:
        sections = yaml.safe_load(path.read_text())["airflow"]
        found = [(kind, one) for kind in sections for one in sections[kind] or ()]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        message = f"{path}: cannot be read ({error!r}); expected `airflow:` with {', '.join(_KINDS)}"
        raise StackError(message) from error
    bodies: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    left_out = []
    for kind, raw in found:
        if kind not in _KINDS:
            message = f"{path}: airflow: found {kind!r}; expected {', '.join(_KINDS)}"
            raise StackError(message)
        if missing := sorted(set(_missing(raw, environ))):
            name = next(iter(raw.values()))
            left_out.append(f"{kind}: {name} is left out, as {', '.join(missing)} is not set")
        elif not isinstance(raw, dict) or any(raw.values()):  # Astronomer's template has one empty entry of each kind
            bodies[kind].append(_validate(path, kind, _fill(raw, environ)))
    return AirflowSettings(bodies, tuple(left_out))


def apply_airflow_settings(client: AirflowClient, wanted: AirflowSettings) -> None:
    """Make what is asked for, in place of what has its name; what else there is stays.

    Raises:
        StackError: Airflow refuses an entry; the message holds its words.
    """
    for kind, bodies in wanted.bodies.items():
        if bodies:
            action = {"action": "create", "action_on_existence": "overwrite", "entities": bodies}
            errors = client.request("PATCH", f"/{kind}", json={"actions": [action]})["create"]["errors"]
            if errors:
                message = f"Airflow refused {kind}: {json.dumps(errors)[:500]}"
                raise StackError(message)


def _validate(path: Path, kind: str, raw: Any) -> dict[str, Any]:
    try:
        return _KINDS[kind].model_validate(raw).body()
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the entry'}: {one['msg']}" for one in error.errors())
        message = f"{path}: {kind}: {words}"
        raise StackError(message) from None


def _missing(value: Any, environ: Mapping[str, str]) -> Iterator[str]:
    for found in _NAME.finditer(json.dumps(value, default=str)):
        if found[2] is None and not environ.get(found[1]):
            yield found[1]


def _fill(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _NAME.sub(lambda found: environ.get(found[1]) or found[2] or "", value)
    if isinstance(value, dict):
        return {key: _fill(one, environ) for key, one in value.items()}
    return [_fill(one, environ) for one in value] if isinstance(value, list) else value
