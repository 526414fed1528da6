"""The registry by plain HTTP: for a server that should not carry all of MLflow to show a page or to serve."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from include.ratchet.errors import RegistryUnavailableError, VersionNotFoundError
from include.ratchet.registry.bundle import locate
from include.ratchet.settings import Settings

_TIMEOUT_S = 20.0
_ALIAS = "/api/2.0/mlflow/registered-models/alias"


@dataclass(frozen=True)
class Held:
    """A version as MLflow's server holds it.

    Attributes:
        name: of the version, for messages.
        run_id: of the run that its files are of.
        tags: its tags.
        settings: where the server is.
    """

    name: str
    run_id: str
    tags: Mapping[str, str]
    settings: Settings = field(repr=False)

    def read(self, path: str) -> bytes:
        """One of its files, such as `card.html`.

        Raises:
            VersionNotFoundError: it has no such file.
            RegistryUnavailableError: the server cannot be reached or does not answer in order.
        """
        place = locate(self.tags, path)
        with _open(self.settings) as http:
            found = http.get("/get-artifact", params={"run_uuid": self.run_id, "path": place.artifact})
            try:
                if found.status_code != httpx.codes.NOT_FOUND:
                    return place.read(found.raise_for_status().content)
            except KeyError:
                pass
            message = f"{self.name} has no file {path}; its training may have been cut off: train it again"
            raise VersionNotFoundError(message)


def open_version(slug: str, number: int, settings: Settings) -> Held:
    """A version out of MLflow's server.

    Args:
        slug: name of the registered model, which is a model key's slug.
        number: of the version.
        settings: where MLflow's server is.

    Raises:
        VersionNotFoundError: there is no such version.
        RegistryUnavailableError: the server cannot be reached or does not answer in order.
    """
    with _open(settings) as http:
        found = http.get("/api/2.0/mlflow/model-versions/get", params={"name": slug, "version": str(number)})
        if found.status_code == httpx.codes.NOT_FOUND:
            message = f"{slug} has no version {number}; see ./ratchet history {slug.partition('.')[0]}"
            raise VersionNotFoundError(message)
        version = found.raise_for_status().json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
    return Held(f"{slug}@{number}", version["run_id"], tags, settings)


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
