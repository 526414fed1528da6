"""Who tells a source its address and credentials: Airflow's connections, the environment, or a plain mapping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from include.ratchet.errors import SourceError, StoreError
from include.ratchet.settings import Settings, read_settings

STORE_CONNECTION = "RATCHET_STORE_CONNECTION"
"""The variable that names the connection whose keys and endpoint are the store's."""
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2", "mysql": "mysql+mysqldb"}


@dataclass(frozen=True)
class ConnectionInfo:
    """One address with its credentials, as Airflow describes a connection.

    Attributes:
        kind: Airflow's connection type, such as `postgres` or `aws`.
        host: server, or folder of a Unix socket.
        port: of the server.
        login: user name or access key.
        password: or secret key.
        schema: database.
        extra: whatever the kind needs besides.
    """

    kind: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_socket(self) -> bool:
        """Whether the host is the folder of a Unix socket."""
        return bool(self.host and self.host.startswith("/"))

    def storage_options(self) -> dict[str, str]:
        """Credentials and endpoint of an object store, in the words of `Settings.storage_options`."""
        found = {
            "AWS_ACCESS_KEY_ID": self.login,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_SESSION_TOKEN": self.extra.get("aws_session_token"),
            "AWS_REGION": self.extra.get("region_name"),
            "AWS_ENDPOINT_URL": self.extra.get("endpoint_url"),
        }
        return {key: str(value) for key, value in found.items() if value}

    def sqlalchemy_url(self) -> Any:
        """The address as SQLAlchemy's `URL`."""
        from sqlalchemy import URL

        query = {key: str(value) for key, value in self.extra.items() if isinstance(value, str | int)}
        if self.is_socket:
            query["host"] = str(self.host)
        return URL.create(
            _DRIVERS.get(self.kind, self.kind),
            username=self.login,
            password=self.password,
            host=None if self.is_socket else self.host,
            port=self.port,
            database=self.schema,
            query=query,
        )


class Connections(Protocol):
    """Looks connections up by their id."""

    def get(self, connection_id: str) -> ConnectionInfo:
        """One connection.

        Raises:
            SourceError: it is not defined.
        """
        ...


@dataclass(frozen=True)
class MappedConnections:
    """Connections that are already known."""

    known: Mapping[str, ConnectionInfo] = field(default_factory=dict)

    def get(self, connection_id: str) -> ConnectionInfo:
        """One connection of the mapping."""
        if connection_id not in self.known:
            message = f"no connection {connection_id!r}; expected one of: {', '.join(self.known) or 'none is defined'}"
            raise SourceError(message)
        return self.known[connection_id]


@dataclass(frozen=True)
class EnvironmentConnections:
    """Connections from `AIRFLOW_CONN_<ID>` variables, as a URI or as JSON."""

    environ: Mapping[str, str] = field(repr=False)

    def get(self, connection_id: str) -> ConnectionInfo:
        """The connection of one variable."""
        variable = f"AIRFLOW_CONN_{connection_id.upper()}"
        if variable not in self.environ:
            message = f"no connection {connection_id!r}; set {variable} to a URI or to JSON, as Airflow reads it"
            raise SourceError(message)
        return parse_connection(self.environ[variable], variable)


def find_settings(environ: Mapping[str, str], connections: Connections | None = None) -> Settings:
    """Settings whose store has the endpoint and the keys of its connection, if one is named; it is looked up anew.

    Args:
        environ: see `read_settings`; `AWS_*` variables say what the connection leaves open.
        connections: who knows it; without, `AIRFLOW_CONN_<ID>` of the environment.

    Raises:
        StoreError: the connection is not defined, or is none of an object store.
    """
    settings, named = read_settings(environ), environ.get(STORE_CONNECTION)
    if not named:
        return settings
    try:
        info = (connections or EnvironmentConnections(environ)).get(named)
    except SourceError as error:
        message = f"{STORE_CONNECTION}: {error}"
        raise StoreError(message) from error
    if info.kind not in ("aws", "s3"):
        message = (
            f"{STORE_CONNECTION}: connection {named!r} is of type {info.kind!r}; expected aws, with the access key as "
            "login, the secret key as password, and endpoint_url and region_name in its extra"
        )
        raise StoreError(message)
    given = info.storage_options()
    # Keys belong together: a token of the environment's keys is none of the connection's.
    kept = {k: v for k, v in settings.storage_options.items() if not (info.login and k in _CREDENTIALS)}
    return replace(settings, storage_options={**kept, **given})


def parse_connection(text: str, where: str) -> ConnectionInfo:
    """Read a connection in either of Airflow's two spellings.

    Args:
        text: `postgres://user:secret@host:5432/db?key=value`, or a JSON object with `conn_type`, `host` and so on.
        where: the variable's name, for the error.

    Raises:
        SourceError: the text is neither. It is not shown, as it may hold a secret.
    """
    try:
        if text.lstrip().startswith("{"):
            return _from_json(json.loads(text))
        return _from_uri(text)
    except (ValueError, KeyError, TypeError):
        message = f"{where}: cannot be read; expected a URI (postgres://user:secret@host/db) or a JSON object"
        raise SourceError(message) from None


def _from_json(raw: dict[str, Any]) -> ConnectionInfo:
    extra = raw.get("extra") or {}
    return ConnectionInfo(
        kind=raw["conn_type"],
        host=raw.get("host"),
        port=int(raw["port"]) if raw.get("port") else None,
        login=raw.get("login"),
        password=raw.get("password"),
        schema=raw.get("schema"),
        extra=json.loads(extra) if isinstance(extra, str) else extra,
    )


def _from_uri(text: str) -> ConnectionInfo:
    parts = urlsplit(text)
    if not parts.scheme:
        raise KeyError
    query = dict(parse_qsl(parts.query))
    extra = json.loads(query.pop("__extra__")) if "__extra__" in query else query
    return ConnectionInfo(
        kind=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname) if parts.hostname else None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path.lstrip("/")) or None,
        extra=extra,
    )
