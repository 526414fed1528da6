"""The facet of a model version, which OpenLineage itself has none for.

Its schema is `schemas/ModelVersionDatasetFacet.json`; Airflow's server shows it under `/ratchet/facets`, where
`_schemaURL` points. Imports OpenLineage's client: a second, so only where events are made.
"""

from __future__ import annotations

from typing import Any

import attr
from openlineage.client.facet_v2 import DatasetFacet

NAME = "ratchet_modelVersion"
"""A custom facet's name begins with its producer's."""
SCHEMA = "1-0-0/ModelVersionDatasetFacet.json"


@attr.define
class ModelVersionDatasetFacet(DatasetFacet):
    """What made a model version, and what was thought of it.

    Attributes:
        model: its name.
        segment: `all`, or the segment that the version is of.
        version: its number in the registry.
        asOf: nothing that it learned from became known later, ISO 8601.
        snapshot: id of its training set.
        specHash: of the spec's meaning.
        codeHash: of the code that decides results.
        lockHash: of the locked packages.
        gitCommit: of the project.
        seed: of everything random.
        verdict: promote, hold or reject.
        metrics: on its test rows, by name.
        url: where the registry shows it; None of a registry without a server.
        alias: the alias that points to it, where that is what the event is about.
    """

    model: str
    segment: str
    version: int
    asOf: str  # noqa: N815
    snapshot: str
    specHash: str  # noqa: N815
    codeHash: str  # noqa: N815
    lockHash: str  # noqa: N815
    gitCommit: str  # noqa: N815
    seed: int
    verdict: str
    metrics: dict[str, float]
    url: str | None = attr.field(default=None)
    alias: str | None = attr.field(default=None)


def place_schema(facet: Any, airflow_url: str) -> Any:
    """A facet that says where its schema is, and whose it is."""
    facet._producer = f"{airflow_url}/ratchet"
    facet._schemaURL = f"{airflow_url}/ratchet/facets/{SCHEMA}#/$defs/{type(facet).__name__}"
    return facet
