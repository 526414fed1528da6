"""The second half of a training: the final fit, its evaluation, registration, the verdict and the promotion."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.evaluation.gates import Circumstances, Verdict, judge
from include.ratchet.evaluation.report import (
    Contender,
    CostResult,
    EvaluationReport,
    evaluate,
    gain_over,
    measure_latency_ms,
)
from include.ratchet.features import feature_names
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import Rival, read_champion, score_champion, score_rival
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
from include.ratchet.registry.card import render_html, render_markdown
from include.ratchet.registry.example import EXAMPLE, dump_array, dump_example
from include.ratchet.registry.formats import dump_model, load_model
from include.ratchet.registry.importance import permutation_importance
from include.ratchet.registry.ledger import Entry
from include.ratchet.registry.plots import draw_plots
from include.ratchet.registry.submit import Registrar, Submission
from include.ratchet.registry.submit import register as register_version
from include.ratchet.registry.versions import Version, find_by_training
from include.ratchet.spec import Model
from include.ratchet.training.baselines import baseline_scores
from include.ratchet.training.fit import Candidate, predict, steady
from include.ratchet.training.frames import class_codes, features_frame, label_array
from include.ratchet.training.learning import learning_curve
from include.ratchet.training.search import SearchResult
from include.ratchet.training.split import Split

FITTED, MODEL, REPORT, VERDICT = "fitted.json", "model.bin", "report.json", "verdict.json"


def fit(workspace: Workspace, request: TrainingRequest, found: SearchResult | None = None) -> dict[str, Any]:
    """Fit the search's best candidate on train and validation rows, twice if the gates ask whether that is the same.

    Args:
        workspace: the installation.
        request: the training.
        found: what the search found; absent: concluded from its study.

    Returns:
        Candidate, format, cost, learning curve: what later steps need beside the model's bytes.
    """
    model, table, split = load_split(workspace, request)
    found = found or conclude_search(workspace, request)
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
    is_drawn = request.base is None and request.key.is_pool
    curve = learning_curve(model, found.best, frame, label, split, loaded) if is_drawn else ()
    result = {
        "candidate": found.best.to_dict(), "format": form, "cost": asdict(cost),
        "learning": [asdict(point) for point in curve],
    }  # fmt: skip
    folder = folder_of(workspace, request)
    folder.put(MODEL, content)
    folder.put_json(FITTED, result)
    return result


def evaluate_candidate(workspace: Workspace, request: TrainingRequest, pool: Rival | None = None) -> EvaluationReport:
    """Measure the fitted candidate on the test rows, beside the baselines and the present champion, and judge it.

    Args:
        workspace: the installation.
        request: the training.
        pool: the pooled model that a segment's candidate must beat, if there is one.
    """
    model, table, split = load_split(workspace, request)
    folder = folder_of(workspace, request)
    estimator, fitted = _fitted(workspace, request, model)
    test = table.take(pa.array(split.test))
    frame = features_frame(test, feature_names(model))
    classes, codes = class_codes(label_array(table, model.spec), model.spec.task)
    state = read_champion(workspace, request.key)
    champion, problem = score_champion(workspace, request.key, state, model, test, classes)
    pooled = score_rival(pool, "pooled model", model, test, classes) if pool else None
    report = evaluate(
        model.spec, test, codes[split.test], predict(estimator, frame, model.spec.task, classes), feature_names(model),
        baselines=[Contender(name, scores) for name, scores in baseline_scores(table, model.spec, split).items()],
        champion=champion,
        pool=pooled,
        cost=CostResult(**fitted["cost"]),
        window=request.cause,
    )  # fmt: skip
    circumstances = Circumstances(
        is_data_valid=bool(folder.need_json(VALIDATION)["passed"]),
        as_of=request.as_of,
        champion_as_of=state.as_of if state else None,
        champion_error=problem,
        has_window=request.cause is not None,
        is_backfill=request.is_backfill,
    )
    verdict = judge(model.spec, report, circumstances)
    gain = gain_over(model.spec, codes[split.test], pooled, champion) if pooled and champion else None
    folder.put_json(REPORT, report.to_dict())
    folder.put_json(VERDICT, {
        **verdict.to_dict(), "judged_against": state.version if state else None,
        "pool": pool.version.number if pool else None, "pool_gain": asdict(gain) if gain else None,
    })  # fmt: skip
    return report


def register(workspace: Workspace, request: TrainingRequest, registrar: Registrar | None = None) -> Version:
    """Register the candidate with its verdict, whatever that is, and enter the verdict in the ledger.

    Args:
        workspace: the installation.
        request: the training.
        registrar: of the fleet's batch that a segment's candidate belongs to; it is registered without plots.
    """
    model, table, split = load_split(workspace, request)
    folder, settings = folder_of(workspace, request), workspace.settings
    verdict = read_verdict(workspace, request)
    if registrar is not None:
        version = registrar.register(_submission(workspace, request, model, table, split))
    else:
        version = find_by_training(request.key, request.training_id, settings) or register_version(
            model, _submission(workspace, request, model, table, split), settings
        )
    ledger.record(
        Entry(
            key=request.key, kind="verdict", idempotency_key=verdict_name(request),
            actor=request.actor, reason=f"{verdict.outcome}: {verdict.reason}", recorded_at=workspace.clock(),
            version=version.number, as_of=request.as_of,
            details={**folder.need_json(VERDICT), "metrics": dict(version.metrics), "asked": request.reason,
                     "answers": list(request.answers), "fingerprint": version.lineage.fingerprint,
                     "rival": _rival(read_report(workspace, request))},
        ),
        settings,
    )  # fmt: skip
    return version


def verdict_name(request: TrainingRequest) -> str:
    """The idempotency key of a training's verdict."""
    return f"verdict:{request.key.slug}:{request.training_id}"


def _rival(report: EvaluationReport) -> dict[str, Any] | None:
    """What a candidate had to beat, and by how much it did."""
    found = report.pool or report.champion
    return {"name": found.name, **asdict(found.gain)} if found else None


def decide(workspace: Workspace, request: TrainingRequest) -> Verdict:
    """The verdict; a rejection is an error that shows the gate table.

    Raises:
        GateRefusedError: the verdict is to reject.
    """
    verdict = read_verdict(workspace, request)
    version = registered(workspace, request)
    verdict.raise_for_rejection(str(version))
    return verdict


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
    plots = draw_plots(report, trials, importance, fitted["learning"]) if request.key.is_pool else {}
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
