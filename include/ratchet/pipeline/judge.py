"""The second half of a training: the final fit, its evaluation, registration, the verdict and the promotion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.data.facts import find_facts, read_facts
from include.ratchet.data.records import record_keys
from include.ratchet.dependencies.report import DEPENDENCIES
from include.ratchet.evaluation.comparison import Contender
from include.ratchet.evaluation.gates import Circumstances, judge
from include.ratchet.evaluation.report import (
    CostResult,
    EvaluationReport,
    evaluate,
    gain_over,
    measure_latency_ms,
)
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.features import feature_names
from include.ratchet.labels.facts import describe_labels
from include.ratchet.pipeline.dependencies import complete, examine
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import Rival, read_champion, score_champion, score_rival
from include.ratchet.pipeline.train import (
    SNAPSHOT,
    TRIALS,
    VALIDATION,
    TrainingSet,
    conclude_search,
    folder_of,
    lineage_of,
    load_set,
    snapshot_of,
)
from include.ratchet.pipeline.trust import look_into
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
from include.ratchet.training.baselines import baseline_scores
from include.ratchet.training.fit import Candidate, predict, steady
from include.ratchet.training.frames import class_codes
from include.ratchet.training.learning import learning_curve
from include.ratchet.training.metrics import Floats
from include.ratchet.training.search import SearchResult

FITTED, MODEL, REPORT, VERDICT = "fitted.json", "model.bin", "report.json", "verdict.json"


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate and its rows: what later steps take from the fit, or, in another process, from its folder.

    Attributes:
        data: what it was fitted on.
        estimator: as its bytes load.
        scores: its predictions of the test rows.
        facts: candidate, format, cost, learning curve.
    """

    data: TrainingSet
    estimator: Any
    scores: Floats
    facts: Mapping[str, Any]


def fit(workspace: Workspace, request: TrainingRequest) -> dict[str, Any]:
    """Fit the search's best candidate, and leave it in the training's folder.

    Returns:
        Candidate, format, cost, learning curve: what later steps need beside the model's bytes.
    """
    found = conclude_search(workspace, request)
    return dict(fit_best(workspace, request, load_set(workspace, request), found).facts)


def fit_best(workspace: Workspace, request: TrainingRequest, data: TrainingSet, found: SearchResult) -> Fitted:
    """Fit the best candidate on train and validation rows, twice if the gates ask whether that is the same.

    Args:
        workspace: the installation.
        request: the training.
        data: its rows.
        found: by its search.
    """
    model, split, test = data.model, data.split, data.test_frame
    make = partial(
        learn, workspace, request.key, request.base, found.best, data.table, data.frame, data.label, split
    )  # fmt: skip
    content, form = dump_model(make(), model.spec)
    loaded = load_model(content, form, model.spec)
    scores = predict(loaded, test, model.spec.task)
    is_same = True
    if model.spec.gates.reproducible:
        is_same = np.array_equal(scores, predict(make(), test, model.spec.task))
    with steady(model):
        latency = measure_latency_ms(lambda row: predict(loaded, row, model.spec.task), test)
    cost = CostResult(latency, len(content) / 1e6, is_same)
    is_drawn = request.base is None and request.key.is_pool
    curve = learning_curve(model, found.best, data.frame, data.label, split, loaded) if is_drawn else ()
    facts = {
        "candidate": found.best.to_dict(), "format": form, "cost": asdict(cost),
        "learning": [asdict(point) for point in curve],
    }  # fmt: skip
    folder = folder_of(workspace, request)
    folder.put(MODEL, content)
    folder.put_json(FITTED, facts)
    return Fitted(data, loaded, scores, facts)


def evaluate_candidate(
    workspace: Workspace, request: TrainingRequest, pool: Rival | None = None, fitted: Fitted | None = None
) -> EvaluationReport:
    """Measure the fitted candidate on the test rows, beside the baselines and the present champion, and judge it.

    Args:
        workspace: the installation.
        request: the training.
        pool: the pooled model that a segment's candidate must beat, if there is one.
        fitted: the candidate, if this process has fitted it.
    """
    fitted = fitted or read_fitted(workspace, request)
    folder, data, model = folder_of(workspace, request), fitted.data, fitted.data.model
    test = data.test_table
    classes, codes = class_codes(data.label, model.spec.task)
    codes = codes[data.split.test]
    # The columns of several classes are all the snapshot's, of which those that were fitted on may lack one.
    scores = (
        predict(fitted.estimator, data.test_frame, model.spec.task, classes) if classes is not None else fitted.scores
    )
    state = read_champion(workspace, request.key)
    champion, problem = score_champion(workspace, request.key, state, model, test, classes)
    pooled = score_rival(pool, "pooled model", model, test, classes) if pool else None
    baselines = baseline_scores(data.table, model.spec, data.split)
    report = evaluate(
        model.spec, test, codes, scores, feature_names(model),
        baselines=[Contender(*baseline) for baseline in baselines.items()],
        champion=champion,
        pool=pooled,
        cost=CostResult(**fitted.facts["cost"]),
        window=request.cause,
        facts=_read_facts(workspace, request, data),
        classes=classes,
    )  # fmt: skip
    dependencies = examine(workspace, request, data)
    circumstances = Circumstances(
        is_data_valid=bool(folder.need_json(VALIDATION)["passed"]),
        as_of=request.as_of,
        champion_as_of=state.as_of if state else None,
        champion_error=problem,
        has_window=request.cause is not None,
        is_backfill=request.is_backfill,
        dependencies=dependencies.facts if dependencies else None,
    )
    verdict = judge(model.spec, report, circumstances)
    gain = gain_over(model.spec, codes, pooled, champion) if pooled and champion else None
    folder.put_json(REPORT, report.to_dict())
    folder.put_json(VERDICT, {
        **verdict.to_dict(), "judged_against": state.version if state else None,
        "pool": pool.version.number if pool else None, "pool_gain": asdict(gain) if gain else None,
    })  # fmt: skip
    return report


def _read_facts(workspace: Workspace, request: TrainingRequest, data: TrainingSet) -> pa.Table | None:
    """What the scope's value reads of the test rows, as the snapshot's table version had it."""
    spec, test = data.model.spec, data.test_table
    business = spec.business
    if business is None:
        return None
    version = snapshot_of(workspace, request).sources.get(spec.name)
    facts = read_facts(
        workspace.settings, data.model, test[spec.event_time], business.columns, request.as_of, version
    )  # fmt: skip
    return find_facts(data.model, facts, record_keys(spec, test), business.columns)


def register(
    workspace: Workspace, request: TrainingRequest, registrar: Registrar | None = None, fitted: Fitted | None = None
) -> Version:
    """Register the candidate with its verdict, whatever that is, and enter the verdict in the ledger.

    Args:
        workspace: the installation.
        request: the training.
        registrar: of the fleet's batch that a segment's candidate belongs to; it is registered without plots.
        fitted: the candidate, if this process has fitted it.
    """
    folder, settings = folder_of(workspace, request), workspace.settings
    verdict = read_verdict(workspace, request)
    version = None if registrar else find_by_training(request.key, request.training_id, settings)
    if version is None:
        fitted = fitted or read_fitted(workspace, request)
        submission = _submission(workspace, request, fitted)
        version = (
            registrar.register(submission) if registrar else register_version(fitted.data.model, submission, settings)
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


def read_fitted(workspace: Workspace, request: TrainingRequest) -> Fitted:
    """The candidate that this training fitted, with its rows."""
    folder, data = folder_of(workspace, request), load_set(workspace, request)
    facts, spec = folder.need_json(FITTED), data.model.spec
    estimator = load_model(folder.need(MODEL), facts["format"], spec)
    return Fitted(data, estimator, predict(estimator, data.test_frame, spec.task), facts)


def _submission(workspace: Workspace, request: TrainingRequest, fitted: Fitted) -> Submission:
    folder, data, estimator, facts = folder_of(workspace, request), fitted.data, fitted.estimator, fitted.facts
    spec, test = data.model.spec, data.test_frame
    report, verdict = read_report(workspace, request), read_verdict(workspace, request)
    lineage = lineage_of(workspace, request, Candidate(**facts["candidate"]))
    classes, codes = class_codes(data.label, spec.task)
    trials = folder.need_json(TRIALS)["trials"]
    importance = permutation_importance(spec, estimator, test, codes[data.split.test], classes)
    plots = draw_plots(report, trials, importance, facts["learning"]) if request.key.is_pool else {}
    labels = describe_labels(
        workspace.settings, data.model, data.table, data.split.test, request.as_of, with_people=request.key.is_pool
    )
    trust = look_into(workspace, request, data, estimator, importance)
    dependencies = complete(workspace, request, data, Candidate(**facts["candidate"]), importance)
    card = render_markdown(
        spec, lineage, report, verdict, data.table.num_rows, plots, trust.overview, trust.sources, labels,
        dependencies,
    )  # fmt: skip
    files = {
        "card.md": card.encode(),
        "card.html": render_html(card, str(request.key)).encode(),
        "report.json": folder.need(REPORT),
        "verdict.json": folder.need(VERDICT),
        "snapshot.json": folder.need(SNAPSHOT),
        "trials.json": folder.need(TRIALS),
        "labels.json": json.dumps(labels.to_dict()).encode(),
        "importance.json": json.dumps(importance).encode(),
        "test_scores.npy": dump_array(fitted.scores),
        EXAMPLE: dump_example(test, fitted.scores),
        **trust.files(),
        **({DEPENDENCIES: json.dumps(dependencies.to_dict()).encode()} if dependencies else {}),
        **plots,
    }
    return Submission(
        training_id=request.training_id, lineage=lineage, report=report, verdict=verdict, model=folder.need(MODEL),
        estimator=estimator, form=facts["format"], example=test.iloc[:5], files=files, reason=request.reason,
        requests=ledger.read_requests(request.answers, workspace.settings),
    )  # fmt: skip
