"""The values that a model's label can take, and reading them from what people chose."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from include.ratchet.data.casting import cast_column
from include.ratchet.data.resolution import label_type
from include.ratchet.errors import AnnotationError
from include.ratchet.labels.tasks import write_choice
from include.ratchet.spec import Model


class LabelValues:
    """What may be said of a row of a model.

    Args:
        model: whose.
        rows: landed rows with the label, which show its classes where the spec does not list them.

    Raises:
        AnnotationError: nothing says which classes there are.
    """

    def __init__(self, model: Model, rows: pa.Table) -> None:
        self._type = label_type(model)
        self.classes: tuple[Any, ...] | None = None
        """In order; None of a regression."""
        if model.spec.task != "regression":
            self.classes = _find_classes(model, rows)

    @property
    def expected(self) -> str:
        """In words."""
        return "a number" if self.classes is None else f"one of {', '.join(map(write_choice, self.classes))}"

    def parse(self, choice: Any) -> Any | None:
        """A label in its own type; None if the choice is none."""
        if isinstance(choice, bool) and not pa.types.is_boolean(self._type):
            return None
        text = pa.array([write_choice(choice)])
        value = text[0].as_py() if pa.types.is_string(self._type) else cast_column(text, self._type).values[0].as_py()
        if self.classes is None:
            return None if value is None or not math.isfinite(value) else float(value)
        return value if value in self.classes else None


def _find_classes(model: Model, rows: pa.Table) -> tuple[Any, ...]:
    name, kind = model.spec.label.column, label_type(model)
    declared = model.spec.columns[name].values
    if pa.types.is_boolean(kind):
        return (False, True)
    if declared:
        return tuple(cast_column(pa.array(declared), kind).values.to_pylist())
    landed = rows[name].drop_null().unique().to_pylist() if name in rows.column_names else []
    if not landed:
        message = (
            f"{model.folder}/model.yaml: columns.{name} lists no `values`, and no row has a label yet; expected one "
            f"of both, to know the classes. Add `values: [...]` to columns.{name}."
        )
        raise AnnotationError(message)
    return tuple(sorted(landed))
