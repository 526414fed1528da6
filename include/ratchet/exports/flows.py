"""What each step of the life of a model reads and writes, as OpenLineage's datasets.

A flow is told after its step has ended, from what the step was given and what it gave; of a step that failed or was
skipped only that much is told as is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset

from include.ratchet.data.planning import static_partition
from include.ratchet.data.records import RecordTable
from include.ratchet.data.snapshots import Snapshot
from include.ratchet.data.tables import Table
from include.ratchet.exports.datasets import describe_snapshot, describe_table, describe_version, read_from, write_to
from include.ratchet.features.inputs import read_versions
from include.ratchet.pipeline.fleet.report import TABLE, read_table
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import SNAPSHOT, folder_of, snapshot_of
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION, read_aliases
from include.ratchet.registry.versions import Version, find_by_training, get_version
from include.ratchet.scoring.champions import find_champions
from include.ratchet.spec import Model, ModelKey, partition_of
from include.ratchet.validation.subjects import SNAPSHOT as SNAPSHOT_TABLE
from include.ratchet.validation.subjects import name_subject, read_results

MOST = 50
"""Versions of segments that one event lists; each is asked for, and a model may have thousands."""


@dataclass(frozen=True)
class Flow:
    """What a step read and wrote."""

    inputs: tuple[InputDataset, ...] = ()
    outputs: tuple[OutputDataset, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step that has ended.

    Attributes:
        workspace: it worked in.
        run_id: the run that it belongs to.
        given: its arguments by name.
        result: what it gave; None if it failed, was skipped or gives none.
        is_done: whether it ended well.
    """

    workspace: Workspace
    run_id: str
    given: Mapping[str, Any]
    result: Any
    is_done: bool

    @property
    def model(self) -> Model:
        """Whose step it is."""
        return self.workspace.model(self.given.get("model") or self.request.key.model)

    @property
    def request(self) -> TrainingRequest:
        """The training that it belongs to."""
        return TrainingRequest.from_dict(self.given["request"])

    def table(self, name: str) -> Table:
        """A table of the model."""
        return Table(self.workspace.settings, self.model.name, name)


def trace_step(name: str, step: Step) -> Flow:
    """The flow of a step by its name, such as `steps.land`; an empty one of steps that move nothing."""
    return FLOWS[name](step) if name in FLOWS else Flow()


def _land(step: Step) -> Flow:
    landed = (step.result or {}).get("tables", {})
    return Flow(
        outputs=tuple(
            write_to(describe_table(step.table(name), one["version"]), one["landed"]) for name, one in landed.items()
        )
    )


def _validate(step: Step) -> Flow:
    model, inputs = step.model, []
    for name, landed in step.given["landed"]["tables"].items():
        is_static = model.spec.table(name).is_static
        keys = step.given["landed"]["keys"]
        partitions = [static_partition()] if is_static else [partition_of(model.spec, key) for key in keys]
        results = read_results(step.workspace.settings, model.name, name, name_subject(partitions), step.run_id)
        inputs.append(read_from(describe_table(step.table(name), landed["version"]), results))
    return Flow(tuple(inputs))


def _read_landed(step: Step) -> Flow:
    landed = step.given["landed"]
    tables = (landed if isinstance(landed, dict) else landed[-1])["tables"]
    return Flow(tuple(read_from(describe_table(step.table(name), one["version"])) for name, one in tables.items()))


def _take_snapshot(step: Step) -> Flow:
    snapshot = _find_snapshot(step)
    if snapshot is None:
        return Flow()
    sources = (describe_table(step.table(name), version) for name, version in snapshot.sources.items())
    return Flow(tuple(map(read_from, sources)), (write_to(describe_snapshot(snapshot, step.model), snapshot.rows),))


def _validate_snapshot(step: Step) -> Flow:
    snapshot, settings = _find_snapshot(step), step.workspace.settings
    if snapshot is None:
        return Flow()
    training = step.request.training_id
    results = read_results(settings, step.model.name, SNAPSHOT_TABLE, snapshot.id, training)
    return Flow((read_from(describe_snapshot(snapshot), results),))


def _read_snapshot(step: Step) -> Flow:
    snapshot = _find_snapshot(step)
    return Flow() if snapshot is None else Flow((read_from(describe_snapshot(snapshot)),))


def _register(step: Step) -> Flow:
    return Flow(_read_snapshot(step).inputs, _written(step, filter(None, [_find_candidate(step)])))


def _report_segments(step: Step) -> Flow:
    workspace, request = step.workspace, step.request
    if folder_of(workspace, request).get(TABLE) is None:
        return _read_snapshot(step)
    made = [(one.segment, one.version) for one in read_table(workspace, request) if one.version is not None]
    versions = (
        get_version(ModelKey(request.key.model, segment), number, workspace.settings) for segment, number in made[:MOST]
    )
    return Flow(_read_snapshot(step).inputs, _written(step, versions))


def _announce_segments(step: Step) -> Flow:
    if not step.is_done:
        return Flow()
    name, results = step.request.key.model, read_table(step.workspace, step.request)
    moved = [one.segment for one in results if one.outcome in ("promoted", "returned")][:MOST]
    return Flow(outputs=tuple(one for segment in moved for one in _point(step, ModelKey(name, segment))))


def _decide(step: Step) -> Flow:
    return Flow(_read(step, filter(None, [_find_candidate(step)])))


def _promote(step: Step) -> Flow:
    read = _decide(step).inputs
    return Flow(read, _point(step, step.request.key) if step.is_done else ())


def _announce(step: Step) -> Flow:
    if not step.is_done:
        return Flow()
    key = ModelKey(step.model.name)
    return Flow(_read(step, _answering(step, key, CHAMPION)), _point(step, key))


def _score(step: Step) -> Flow:
    workspace, model = step.workspace, step.model
    tables = read_versions(workspace.settings, model)
    states = find_champions(workspace.settings, model)
    versions = [
        get_version(ModelKey(model.name, segment), state.version, workspace.settings)
        for segment, state in list(states.items())[:MOST]
    ]
    read = [read_from(describe_table(step.table(name), version)) for name, version in tables.items()]
    scores = RecordTable(workspace.settings, model, "scores")
    written = () if step.result is None else (
        write_to(describe_table(scores, step.result["table_version"]), step.result["rows"]),
    )  # fmt: skip
    return Flow((*read, *_read(step, versions)), written)


def _publish_records(step: Step) -> Flow:
    if not step.is_done:
        return Flow()
    table = RecordTable(step.workspace.settings, step.model, "requests")
    versions = _answering(step, ModelKey(step.model.name), CHAMPION, CHALLENGER)
    return Flow(_read(step, versions), (write_to(describe_table(table)),))


def _profile(step: Step) -> Flow:
    table = RecordTable(step.workspace.settings, step.model, "requests")
    if table.version() is None:
        return Flow()
    versions = _answering(step, ModelKey(step.model.name), CHAMPION)
    return Flow((read_from(describe_table(table)), *_read(step, versions)))


def _find_snapshot(step: Step) -> Snapshot | None:
    request = step.request
    known = folder_of(step.workspace, request).get(SNAPSHOT)
    return None if known is None else snapshot_of(step.workspace, request)


def _find_candidate(step: Step) -> Version | None:
    request = step.request
    return find_by_training(request.key, request.training_id, step.workspace.settings)


def _answering(step: Step, key: ModelKey, *aliases: str) -> list[Version]:
    """The versions that some aliases point to."""
    states = read_aliases(key, step.workspace.settings)
    numbers = dict.fromkeys(states[alias].version for alias in aliases if alias in states)
    return [get_version(key, number, step.workspace.settings) for number in numbers]


def _point(step: Step, key: ModelKey) -> tuple[OutputDataset, ...]:
    """The champion's alias, as what now points to its version."""
    return _written(step, _answering(step, key, CHAMPION), CHAMPION)


def _read(step: Step, versions: Iterable[Version]) -> tuple[InputDataset, ...]:
    return tuple(read_from(one) for one in _describe(step, versions, None))


def _written(step: Step, versions: Iterable[Version], alias: str | None = None) -> tuple[OutputDataset, ...]:
    return tuple(write_to(one) for one in _describe(step, versions, alias))


def _describe(step: Step, versions: Iterable[Version], alias: str | None) -> Sequence[Dataset]:
    return [describe_version(version, step.workspace.settings, alias) for version in versions]


FLOWS: Mapping[str, Callable[[Step], Flow]] = {
    "steps.land": _land,
    "steps.validate": _validate,
    "steps.publish": _read_landed,
    "steps.materialise": _read_landed,
    "steps.take_snapshot": _take_snapshot,
    "steps.validate_snapshot": _validate_snapshot,
    "steps.plan_trials": _read_snapshot,
    "steps.run_trials": _read_snapshot,
    "steps.fit": _read_snapshot,
    "steps.evaluate": _read_snapshot,
    "steps.register": _register,
    "steps.decide": _decide,
    "steps.promote": _promote,
    "fleets.train_segments": _read_snapshot,
    "fleets.report_segments": _report_segments,
    "fleets.promote_segments": _announce_segments,
    "fleets.announce_segments": _announce_segments,
    "rollouts.announce": _announce,
    "scores.score": _score,
    "records.publish": _publish_records,
    "monitors.profile": _profile,
}
"""By the module of `orchestration` and the function's name."""
