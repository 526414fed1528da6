"""Feature definitions as a Feast repository, for the joins that Feast has: the newest known row of a key.

What a join finds its rows in is written as a Parquet file, with the time at which each row became known as Feast's
timestamp, so that a join in Feast gives the same rows. Each feature that cannot be there is told with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow.parquet as pq
import yaml

from include.ratchet.exports.columns import joins_of
from include.ratchet.exports.files import write_file
from include.ratchet.features.definition import Definition, compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.inputs import Inputs, read_versions
from include.ratchet.features.joins import KNOWN, Join
from include.ratchet.features.schema import TIMESTAMP, interval, is_monotone
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

TIME = "known_time"
"""Feast's timestamp: a row counts from then on."""
_ALWAYS = "1970-01-01T00:00:00"
_TYPES = {"string": "String", "int64": "Int64", "float64": "Float64", "boolean": "Bool"}
_TICK = interval(timedelta(microseconds=1))
"""Feast takes a row of the very instant that is asked for; here a row counts once it was known before."""


@dataclass(frozen=True)
class View:
    """One feature view: what one join takes.

    Attributes:
        name: of the view and of its file.
        join: that it stands for.
        keys: columns of the entity rows, by key of the join.
        features: feature -> column of the join.
    """

    name: str
    join: Join
    keys: Mapping[str, str]
    features: Mapping[str, str]


@dataclass(frozen=True)
class FeastRepository:
    """What was written.

    Attributes:
        folder: of the repository.
        views: names of the feature views -> their features.
        rows: of each view's file.
        left_out: features that Feast cannot express -> why.
    """

    folder: Path
    views: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        views = {name: {"features": list(names), "rows": self.rows[name]} for name, names in self.views.items()}
        return {"folder": str(self.folder), "views": views, "left_out": dict(self.left_out)}


def write_repository(model: Model, folder: Path, settings: Settings) -> FeastRepository:
    """Write a Feast repository of a model's features, with the rows that have landed by now.

    Raises:
        ExportError: the folder cannot be written to, or holds other files of these names.
    """
    definition = define(model)
    left_out = {name: why for name in definition.features if (why := explain_absence(definition, name)) is not None}
    views = plan_views(definition, [name for name in definition.features if name not in left_out])
    write_file(folder / "feature_store.yaml", _render_store(model).encode())
    write_file(folder / "features.py", render_definitions(model, definition, views, left_out).encode())
    rows = {}
    with Engine(settings) as engine:
        engine.bind_inputs(model, Inputs.open(settings, model, read_versions(settings, model)))
        for view in views:
            found = engine.fetch(compile_sql(select_rows(view)))
            rows[view.name] = found.num_rows
            buffer = io.BytesIO()
            pq.write_table(found, buffer, compression="zstd")
            write_file(folder / "data" / f"{view.name}.parquet", buffer.getvalue(), is_data=True)
    return FeastRepository(folder, {view.name: tuple(view.features) for view in views}, rows, left_out)


def explain_absence(definition: Definition, name: str) -> str | None:
    """Why Feast cannot express a feature; None if it can."""
    joins = joins_of(definition, name)
    if not joins:
        return "it is made of the row that is predicted alone, so that there is nothing to store"
    kinds = {join.kind for join in joins}
    if "rolling" in kinds:
        return "it is a rolling aggregate up to each row's own prediction time; Feast joins stored values"
    if "query" in kinds:
        return "it is a query of the model's own"
    if name not in definition.plain:
        return "it is computed from a joined column and the row that is predicted"
    join = joins[0]
    if not all(isinstance(key.op(), ops.Field) for key in join.keys.values()):
        return "a key of its join is computed from the row that is predicted; Feast's are columns"
    if join.kind == "latest" and not all(is_monotone(definition.model, leaf) for leaf in join.leaves):
        return (
            "the newest row by event time that was known is taken, and rows become known in another order; Feast has "
            "one time for both"
        )
    return None


def plan_views(definition: Definition, names: Sequence[str]) -> tuple[View, ...]:
    """The views of some features, one for each join that they take."""
    views = []
    for join in definition.joins:
        taken = {name: definition.plain[name] for name in names if definition.plain[name] in join.columns}
        if taken:
            keys = {key: value.op().name for key, value in join.keys.items()}
            views.append(View(f"{'_'.join(join.leaves)}_by_{'_'.join(keys.values())}", join, keys, taken))
    names_of = [view.name for view in views]
    return tuple(
        view if names_of.count(view.name) == 1 else View(f"{view.name}_{place}", view.join, view.keys, view.features)
        for place, view in enumerate(views)
    )


def select_rows(view: View) -> ir.Table:
    """The rows of a view's file: keys, time and features; of several rows of one instant, the newest alone."""
    join = view.join
    columns = {name: join.values[column] for name, column in view.features.items()}
    keys = {name: join.values[key] for key, name in view.keys.items()}
    known = join.values.get(KNOWN)
    # A row without a key belongs to nobody here; pandas, which joins in Feast, would give it to all who have none.
    source = join.source.filter([key.notnull() for key in keys.values()])
    if known is None:
        time = ibis.literal(_ALWAYS).cast(TIMESTAMP)
        return source.select(**keys, **columns).mutate(**{TIME: time}).order_by(list(keys))
    order = {f"_o{place}": join.values[name] for place, name in enumerate(join.order)}
    rows = source.filter(known.notnull()).select(**keys, **columns, **order, **{TIME: known + _TICK})
    if order:
        newest = ibis.row_number().over(
            ibis.window(group_by=[*keys, TIME], order_by=[rows[one].desc(nulls_first=False) for one in order])
        )
        rows = rows.mutate(_rank=newest)
        rows = rows.filter(rows["_rank"] == 0).drop("_rank", *order)
    return rows.order_by([TIME, *keys])


def render_definitions(
    model: Model, definition: Definition, views: Sequence[View], left_out: Mapping[str, str]
) -> str:  # fmt: skip
    """The repository's Python file."""
    entities = {name: definition.entities[name].type() for view in views for name in view.keys.values()}
    kinds = {_TYPES[str(definition.features[name])] for view in views for name in view.features}
    lines = [f'"""Features of {model.name}, as `./ratchet export feast {model.name}` wrote them.', ""]
    if left_out:
        reasons = {why: [name for name in left_out if left_out[name] == why] for why in left_out.values()}
        lines += ["Not here, as Feast cannot express them:", ""]
        lines += [f"- {', '.join(names)}: {why}" for why, names in reasons.items()]
    lines.append('"""')
    if views:
        lines += ["", "from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType"]
        lines += [f"from feast.types import {', '.join(sorted(kinds))}", ""]
    for name, kind in entities.items():
        value = "STRING" if kind.is_string() else "BOOL" if kind.is_boolean() else "INT64"
        lines.append(f"{name}_entity = Entity(name={name!r}, join_keys=[{name!r}], value_type=ValueType.{value})")
    for view in views:
        path = f"data/{view.name}.parquet"
        fields = (f"Field(name={one!r}, dtype={_TYPES[str(definition.features[one])]})" for one in view.features)
        lines += [
            "", f"{view.name} = FeatureView(", f"    name={view.name!r},",
            f"    entities=[{', '.join(f'{key}_entity' for key in view.keys.values())}],",
            "    schema=[", *(f"        {one}," for one in fields), "    ],",
            f"    source=FileSource(name='{view.name}_rows', path={path!r}, timestamp_field={TIME!r}),",
            f"    owner={model.spec.owner!r},", ")",
        ]  # fmt: skip
    if views:
        listed = ", ".join(view.name for view in views)
        lines += ["", f"{model.name} = FeatureService(name={model.name!r}, features=[{listed}])"]
    return "\n".join([*lines, ""])


def _render_store(model: Model) -> str:
    return yaml.safe_dump(
        {
            "project": model.name, "provider": "local", "registry": "data/registry.db",
            "online_store": {"type": "sqlite", "path": "data/online_store.db"}, "offline_store": {"type": "file"},
            "entity_key_serialization_version": 3,
        },
        sort_keys=False,
    )  # fmt: skip
