"""The registry by plain HTTP: for a server that should not carry all of MLflow to show a page or to serve."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from include.ratchet.errors import RegistryUnavailableError, VersionNotFoundError
from include.ratchet.registry.bundle import locate
from include.ratchet.settings import Settings

_TIMEOUT_S = 20.0
_ALIAS = "/api/2.0/mlflow/registered-models/alias"


def fetch_artifact(slug: str, number: int, path: str, settings: Settings) -> bytes:
    """One file of a version, out of MLflow's server.

    Args:
        slug: name of the registered model, which is a model key's slug.
        number: of the version.
        path: of the file below the version's run, such as `card.html`.
        settings: where MLflow's server is.

    Raises:
        VersionNotFoundError: there is no such version, or it has no such file.
        RegistryUnavailableError: the server cannot be reached or does not answer in order.
    """
    with _open(settings) as http:
        version = _version(http, slug, number)
        place = locate(_tags(version), path)
        content = http.get("/get-artifact", params={"run_uuid": version["run_id"], "path": place.artifact})
        message = f"{slug}@{number} has no file {path}; its training may have been cut off: train it again"
        if content.status_code == httpx.codes.NOT_FOUND:
            raise VersionNotFoundError(message)
        try:
            return place.read(content.raise_for_status().content)
        except KeyError as error:
            raise VersionNotFoundError(message) from error


def fetch_tags(slug: str, number: int, settings: Settings) -> dict[str, str]:
    """A version's tags, out of MLflow's server.

    Raises:
        VersionNotFoundError: there is no such version.
        RegistryUnavailableError: the server cannot be reached or does not answer in order.
    """
    with _open(settings) as http:
        return _tags(_version(http, slug, number))


def write_aliases(slug: str, aliases: Mapping[str, int], without: Collection[str], settings: Settings) -> None:
    """Set a registered model's aliases in MLflow's server, and remove others.

    Raises:
        RegistryUnavailableError: the server cannot be reached or does not answer in order.
    """
    with _open(settings) as http:
        for alias, number in aliases.items():
            http.post(_ALIAS, json={"name": slug, "alias": alias, "version": str(number)}).raise_for_status()
        for alias in without:
            http.request("DELETE", _ALIAS, json={"name": slug, "alias": alias}).raise_for_status()


@contextmanager
def _open(settings: Settings) -> Iterator[httpx.Client]:
    if not settings.mlflow_url.startswith("http"):
        message = f"the registry is {settings.mlflow_url.split(':')[0]}, expected a server; start one with ./ratchet up"
        raise RegistryUnavailableError(message)
    try:
        # Reading the machine's certificates takes longer than a call.
        verify = settings.mlflow_url.startswith("https")
        with httpx.Client(base_url=settings.mlflow_url, timeout=_TIMEOUT_S, auth=settings.mlflow_login,
                          verify=verify) as http:  # fmt: skip
            yield http
    except httpx.HTTPError as error:
        message = f"MLflow at {settings.mlflow_url} does not answer in order: {error}; see ./ratchet status"
        raise RegistryUnavailableError(message) from error


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in version.get("tags", ())}


def _version(http: httpx.Client, slug: str, number: int) -> dict[str, Any]:
    found = http.get("/api/2.0/mlflow/model-versions/get", params={"name": slug, "version": str(number)})
    if found.status_code == httpx.codes.NOT_FOUND:
        message = f"{slug} has no version {number}; see ./ratchet history {slug.partition('.')[0]}"
        raise VersionNotFoundError(message)
    version: dict[str, Any] = found.raise_for_status().json()["model_version"]
    return version
