"""Where a model's labels stand as of an instant: its rows, what was said of them, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.ratchet.data.annotations import Annotation, AnnotationTable
from include.ratchet.data.resolution import Ruling, resolve_rows
from include.ratchet.data.tables import Table
from include.ratchet.errors import AnnotationError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.spec.labels import AnnotationsSpec


@dataclass(frozen=True)
class LabelState:
    """Labels as of an instant.

    Attributes:
        rows: of the model's own table: keys, event time, label and its available time.
        annotations: what was said, in order.
        rulings: what came of it, by key.
    """

    rows: pa.Table
    annotations: tuple[Annotation, ...]
    rulings: Mapping[str, Ruling]


def read_state(settings: Settings, model: Model, as_of: datetime) -> LabelState:
    """Read where labels stand.

    Raises:
        AnnotationError: the spec wants no annotations, or no row has landed.
    """
    require_rule(model)
    annotations = AnnotationTable(settings, model.name).all(as_of)
    rows = read_rows(settings, model)
    return LabelState(rows, tuple(annotations), resolve_rows(model, rows, annotations, as_of))


def read_rows(settings: Settings, model: Model) -> pa.Table:
    """The columns of the model's own table that its labels are made of.

    Raises:
        AnnotationError: no row has landed.
    """
    spec, table = model.spec, Table(settings, model.name, model.name)
    schema = table.schema()
    if schema is None:
        message = f"{model.name}: no row has landed yet; expected the rows that labels are about. Ingest them first."
        raise AnnotationError(message)
    wanted = dict.fromkeys([*spec.keys, spec.event_time, spec.label.column, spec.label.available_time])
    return table.read(columns=[name for name in schema.names if name in wanted])


def require_rule(model: Model) -> AnnotationsSpec:
    """How the model's labels are settled.

    Raises:
        AnnotationError: its spec does not say.
    """
    rule = model.spec.label.annotations
    if rule is None:
        message = (
            f"{model.folder}/model.yaml: label.annotations is not there; expected a rule for labels that people give. "
            "Add `annotations: {rule: majority}` under `label`."
        )
        raise AnnotationError(message)
    return rule
