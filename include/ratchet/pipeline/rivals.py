"""What a candidate is compared with beside the baselines: the champion and, of a segment, the pooled model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import RatchetError, SchemaChangedError, SpecError
from include.ratchet.evaluation.comparison import CHAMPION as CONTENDER
from include.ratchet.evaluation.comparison import Contender
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION, AliasState
from include.ratchet.registry.versions import Version, get_version, load_estimator
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import Candidate, build_estimator, predict
from include.ratchet.training.frames import features_frame


@dataclass(frozen=True)
class Rival:
    """A version that scores the candidate's test rows."""

    version: Version
    estimator: Any


def read_champion(workspace: Workspace, key: ModelKey) -> AliasState | None:
    """Which version is champion, and what it knew."""
    return ledger.read_aliases(key, workspace.settings).get(CHAMPION)


def open_rival(workspace: Workspace, model: Model, key: ModelKey, number: int) -> Rival:
    """A version with its estimator."""
    version = get_version(key, number, workspace.settings)
    return Rival(version, load_estimator(model, version, workspace.settings))


def usual_candidate(workspace: Workspace, model: Model, key: ModelKey, params: Mapping[str, Any]) -> Candidate:
    """What the champion is a fit of, else the first candidate that needs no parameter.

    Args:
        workspace: the installation.
        model: whose candidates.
        key: whose champion.
        params: that replace those of the candidate.

    Raises:
        SpecError: there is no champion, and each candidate needs parameters.
    """
    candidates, state = model.spec.training.candidates, read_champion(workspace, key)
    if state is not None:
        known = get_version(key, state.version, workspace.settings).lineage
        if known.candidate in candidates:
            return Candidate(known.candidate, {**known.params, **params})
    for name in candidates:
        candidate = Candidate(name, params)
        try:
            build_estimator(model, candidate)
        except Exception:  # noqa: S112 - an estimator without its parameters may raise whatever it likes
            continue
        return candidate
    message = (
        f"{model.folder}/model.yaml: training.candidates: there is no champion, and none of {', '.join(candidates)} "
        "can be built without parameters; train a champion, or name one with its own: --candidate NAME --param "
        "name=value"
    )
    raise SpecError(message)


def score_champion(
    workspace: Workspace, key: ModelKey, state: AliasState | None, model: Model, test: pa.Table,
    classes: npt.NDArray[Any] | None,
) -> tuple[Contender | None, str | None]:  # fmt: skip
    """The scores of a champion on some rows, or why there are none; neither without a champion."""
    if state is None:
        return None, None
    try:
        return score_rival(open_rival(workspace, model, key, state.version), CONTENDER, model, test, classes), None
    except SchemaChangedError as error:
        return None, f"champion {error}"
    except (RatchetError, ValueError, TypeError) as error:
        return None, f"champion {state.version} cannot score these rows: {error}"


def score_rival(
    rival: Rival, name: str, model: Model, test: pa.Table, classes: npt.NDArray[Any] | None
) -> Contender:  # fmt: skip
    """A rival's scores on some rows.

    Raises:
        SchemaChangedError: it needs features that are no longer there.
    """
    features, number = rival.version.lineage.features, rival.version.number
    missing = [column for column in features if column not in test.column_names]
    if missing:
        message = f"{number} needs {', '.join(missing)}, which the features no longer give"
        raise SchemaChangedError(message)
    scores = predict(rival.estimator, features_frame(test, features), model.spec.task, classes)
    return Contender(name, scores, number)
