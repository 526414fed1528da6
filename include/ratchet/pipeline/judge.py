"""The second half of a training: the final fit, its evaluation, registration, the verdict and the promotion."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import LedgerConflictError, RatchetError
from include.ratchet.evaluation.gates import Circumstances, Verdict, judge
from include.ratchet.evaluation.report import (
    Contender,
    CostResult,
    EvaluationReport,
    evaluate,
    measure_latency_ms,
)
from include.ratchet.features import feature_names
from include.ratchet.pipeline.handover import begin, is_wanted
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import (
    SNAPSHOT,
    TRIALS,
    VALIDATION,
    conclude_search,
    folder_of,
    lineage_of,
    load_split,
)
from include.ratchet.pipeline.updates import learn
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.card import render_html, render_markdown
from include.ratchet.registry.example import EXAMPLE, dump_array, dump_example
from include.ratchet.registry.formats import dump_model, load_model
from include.ratchet.registry.importance import permutation_importance
from include.ratchet.registry.ledger import CHAMPION, AliasState, Entry
from include.ratchet.registry.plots import draw_plots
from include.ratchet.registry.versions import Submission, Version, find_by_training, get_version, load_estimator
from include.ratchet.registry.versions import register as register_version
from include.ratchet.spec import Model
from include.ratchet.training.baselines import baseline_scores
from include.ratchet.training.fit import Candidate, predict, steady
from include.ratchet.training.frames import class_codes, features_frame, label_array
from include.ratchet.training.learning import learning_curve
from include.ratchet.training.split import Split

FITTED, MODEL, REPORT, VERDICT = "fitted.json", "model.bin", "report.json", "verdict.json"


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate.

    Attributes:
        version: of the candidate.
        is_promoted: whether it is the champion now.
        reason: why, or why not.
        champion: the champion afterwards, if there is one.
        is_started: whether it is the challenger of a hand-over that is to make it champion.
    """

    version: int
    is_promoted: bool
    reason: str
    champion: int | None
    is_started: bool = False


def fit(workspace: Workspace, request: TrainingRequest) -> dict[str, Any]:
    """Fit the search's best candidate on train and validation rows, twice if the gates ask whether that is the same.

    Returns:
        Candidate, format, cost, learning curve: what later steps need beside the model's bytes.
    """
    model, table, split = load_split(workspace, request)
    found = conclude_search(workspace, request)
    frame, label = features_frame(table, feature_names(model)), label_array(table, model.spec)
    test = frame.iloc[split.test]
    make = partial(learn, workspace, request.key, request.base, found.best, table, frame, label, split)
    fitted = make()
    content, form = dump_model(fitted, model.spec)
    loaded = load_model(content, form, model.spec)
    scores = predict(loaded, test, model.spec.task)
    is_same = True
    if model.spec.gates.reproducible:
        is_same = np.array_equal(scores, predict(make(), test, model.spec.task))
    with steady(model):
        latency = measure_latency_ms(lambda row: predict(loaded, row, model.spec.task), test)
    cost = CostResult(latency, len(content) / 1e6, is_same)
    curve = learning_curve(model, found.best, frame, label, split, loaded) if request.base is None else ()
    result = {
        "candidate": found.best.to_dict(), "format": form, "cost": asdict(cost),
        "learning": [asdict(point) for point in curve],
    }  # fmt: skip
    folder = folder_of(workspace, request)
    folder.put(MODEL, content)
    folder.put_json(FITTED, result)
    return result


def evaluate_candidate(workspace: Workspace, request: TrainingRequest) -> EvaluationReport:
    """Measure the fitted candidate on the test rows, beside the baselines and the present champion, and judge it."""
    model, table, split = load_split(workspace, request)
    folder = folder_of(workspace, request)
    estimator, fitted = _fitted(workspace, request, model)
    test = table.take(pa.array(split.test))
    frame = features_frame(test, feature_names(model))
    classes, codes = class_codes(label_array(table, model.spec), model.spec.task)
    champion, problem = _champion(workspace, request, model, test, classes)
    report = evaluate(
        model.spec, test, codes[split.test], predict(estimator, frame, model.spec.task, classes), feature_names(model),
        baselines=[Contender(name, scores) for name, scores in baseline_scores(table, model.spec, split).items()],
        champion=champion[1] if champion else None,
        cost=CostResult(**fitted["cost"]),
        window=request.cause,
    )  # fmt: skip
    circumstances = Circumstances(
        is_data_valid=bool(folder.need_json(VALIDATION)["passed"]),
        as_of=request.as_of,
        champion_as_of=champion[0].as_of if champion else _champion_state(workspace, request, "as_of"),
        champion_error=problem,
        has_window=request.cause is not None,
        is_backfill=request.is_backfill,
    )
    verdict = judge(model.spec, report, circumstances)
    folder.put_json(REPORT, report.to_dict())
    folder.put_json(VERDICT, {**verdict.to_dict(), "judged_against": _champion_state(workspace, request, "version")})
    return report


def register(workspace: Workspace, request: TrainingRequest) -> Version:
    """Register the candidate with its verdict, whatever that is, and enter the verdict in the ledger."""
    model, table, split = load_split(workspace, request)
    folder, settings = folder_of(workspace, request), workspace.settings
    version = find_by_training(request.key, request.training_id, settings)
    verdict = read_verdict(workspace, request)
    if version is None:
        version = register_version(model, _submission(workspace, request, model, table, split), settings)
    ledger.record(
        Entry(
            key=request.key, kind="verdict", idempotency_key=f"verdict:{request.key.slug}:{request.training_id}",
            actor=request.actor, reason=f"{verdict.outcome}: {verdict.reason}", recorded_at=workspace.clock(),
            version=version.number, as_of=request.as_of,
            details={**folder.need_json(VERDICT), "metrics": dict(version.metrics), "asked": request.reason,
                     "answers": list(request.answers)},
        ),
        settings,
    )  # fmt: skip
    return version


def decide(workspace: Workspace, request: TrainingRequest) -> Verdict:
    """The verdict; a rejection is an error that shows the gate table.

    Raises:
        GateRefusedError: the verdict is to reject.
    """
    verdict = read_verdict(workspace, request)
    version = registered(workspace, request)
    verdict.raise_for_rejection(str(version))
    return verdict


def promote(workspace: Workspace, request: TrainingRequest, *, approved_by: str | None = None) -> Promotion:
    """Make the candidate champion or begin its hand-over, if that is its verdict and nothing moved since."""
    version, verdict = registered(workspace, request), read_verdict(workspace, request)
    if verdict.outcome != "promote":
        return _outcome(workspace, request, version, f"{verdict.outcome}: {verdict.reason}")
    judged_against = folder_of(workspace, request).need_json(VERDICT)["judged_against"]
    if is_wanted(workspace.model(request.key.model).spec.rollout, judged_against):
        return _hand_over(workspace, request, version, judged_against, approved_by or request.actor)
    entry = Entry(
        key=request.key, kind="promotion", idempotency_key=f"promotion:{request.key.slug}:{request.training_id}",
        actor=approved_by or request.actor, reason=verdict.reason, recorded_at=workspace.clock(),
        version=version.number, as_of=version.as_of,
        details={"from": judged_against, "metrics": dict(version.metrics), "asked": request.reason},
    )  # fmt: skip
    try:
        aliases = ledger.move_champion(entry, judged_against, workspace.settings)
    except LedgerConflictError as error:
        _record_conflict(workspace, request, version, str(error))
        return _outcome(workspace, request, version, str(error))
    follow(request.key, aliases, workspace.settings)
    return _outcome(workspace, request, version, verdict.reason)


def _hand_over(workspace: Workspace, request: TrainingRequest, version: Version, judged_against: int | None,
               actor: str) -> Promotion:  # fmt: skip
    try:
        begun = begin(workspace, request, version, judged_against, actor=actor)
    except LedgerConflictError as error:
        _record_conflict(workspace, request, version, str(error))
        return _outcome(workspace, request, version, str(error))
    return replace(_outcome(workspace, request, version, begun.reason), is_started=begun.is_started)


def refuse(workspace: Workspace, request: TrainingRequest, *, actor: str, reason: str) -> Promotion:
    """Enter that a person did not agree to the promotion."""
    version = registered(workspace, request)
    ledger.record(
        Entry(
            key=request.key, kind="approval", idempotency_key=f"approval:{request.key.slug}:{request.training_id}",
            actor=actor, reason=reason, recorded_at=workspace.clock(), version=version.number, as_of=version.as_of,
        ),
        workspace.settings,
    )  # fmt: skip
    return _outcome(workspace, request, version, reason)


def read_verdict(workspace: Workspace, request: TrainingRequest) -> Verdict:
    """The verdict that this training came to."""
    content = folder_of(workspace, request).need_json(VERDICT)
    return Verdict.from_dict(content)


def read_report(workspace: Workspace, request: TrainingRequest) -> EvaluationReport:
    """The evaluation of this training's candidate."""
    return EvaluationReport.from_dict(folder_of(workspace, request).need_json(REPORT))


def registered(workspace: Workspace, request: TrainingRequest) -> Version:
    """The version that this training registered.

    Raises:
        FileNotFoundError: it has not registered one yet.
    """
    version = find_by_training(request.key, request.training_id, workspace.settings)
    if version is None:
        message = f"training {request.training_id} of {request.key} has registered no version; run `register` first"
        raise FileNotFoundError(message)
    return version


def _fitted(workspace: Workspace, request: TrainingRequest, model: Model) -> tuple[Any, dict[str, Any]]:
    folder = folder_of(workspace, request)
    fitted = folder.need_json(FITTED)
    return load_model(folder.need(MODEL), fitted["format"], model.spec), fitted


def _champion(
    workspace: Workspace, request: TrainingRequest, model: Model, test: pa.Table, classes: npt.NDArray[Any] | None
) -> tuple[tuple[Version, Contender] | None, str | None]:
    """The champion's scores on the same test rows, or why there are none."""
    state = ledger.read_aliases(request.key, workspace.settings).get(CHAMPION)
    if state is None:
        return None, None
    version = get_version(request.key, state.version, workspace.settings)
    missing = [name for name in version.lineage.features if name not in test.column_names]
    if missing:
        return None, f"champion {version.number} needs {', '.join(missing)}, which the features no longer give"
    try:
        estimator = load_estimator(model, version, workspace.settings)
        scores = predict(estimator, features_frame(test, version.lineage.features), model.spec.task, classes)
    except (RatchetError, ValueError, TypeError) as error:
        return None, f"champion {version.number} cannot score these rows: {error}"
    return (version, Contender("champion", scores, version.number)), None


def _champion_state(workspace: Workspace, request: TrainingRequest, field: str) -> Any:
    state: AliasState | None = ledger.read_aliases(request.key, workspace.settings).get(CHAMPION)
    return getattr(state, field) if state else None


def _submission(workspace: Workspace, request: TrainingRequest, model: Model, table: pa.Table,
                split: Split) -> Submission:  # fmt: skip
    folder = folder_of(workspace, request)
    estimator, fitted = _fitted(workspace, request, model)
    candidate = Candidate(**fitted["candidate"])
    report, verdict = read_report(workspace, request), read_verdict(workspace, request)
    lineage = lineage_of(workspace, request, candidate)
    test = features_frame(table.take(pa.array(split.test)), lineage.features)
    classes, codes = class_codes(label_array(table, model.spec), model.spec.task)
    trials = folder.need_json(TRIALS)["trials"]
    importance = permutation_importance(model.spec, estimator, test, codes[split.test], classes)
    plots = draw_plots(report, trials, importance, fitted["learning"])
    card = render_markdown(model.spec, lineage, report, verdict, folder.need_json(SNAPSHOT), plots)
    files = {
        "card.md": card.encode(),
        "card.html": render_html(card, str(request.key)).encode(),
        "report.json": folder.need(REPORT),
        "verdict.json": folder.need(VERDICT),
        "snapshot.json": folder.need(SNAPSHOT),
        "trials.json": folder.need(TRIALS),
        "importance.json": json.dumps(importance).encode(),
        "test_scores.npy": dump_array(scores := predict(estimator, test, model.spec.task)),
        EXAMPLE: dump_example(test, scores),
        **plots,
    }
    return Submission(
        training_id=request.training_id, lineage=lineage, report=report, verdict=verdict, model=folder.need(MODEL),
        form=fitted["format"], example=test.iloc[:5], files=files, reason=request.reason,
        requests=ledger.read_requests(request.answers, workspace.settings),
    )  # fmt: skip


def _record_conflict(workspace: Workspace, request: TrainingRequest, version: Version, reason: str) -> None:
    ledger.record(
        Entry(
            key=request.key, kind="conflict", idempotency_key=f"conflict:{request.key.slug}:{request.training_id}",
            actor=request.actor, reason=reason, recorded_at=workspace.clock(), version=version.number,
            as_of=version.as_of,
        ),
        workspace.settings,
    )  # fmt: skip


def _outcome(workspace: Workspace, request: TrainingRequest, version: Version, reason: str) -> Promotion:
    champion = ledger.read_aliases(request.key, workspace.settings).get(CHAMPION)
    number = champion.version if champion else None
    return Promotion(version.number, number == version.number, reason, number)
