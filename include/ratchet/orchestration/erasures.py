"""The tasks' functions of an erasure. A docstring here is the task's page in the UI.

Like `steps`, imported whenever DAGs are parsed: the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.ratchet.orchestration.assets import retraining_asset
from include.ratchet.orchestration.requests import actor_of
from include.ratchet.orchestration.steps import Json, open_workspace

_log = logging.getLogger(__name__)


def erase(model: str) -> Json:
    """Take the person that the form names out of all that is kept of the model; the certificate names nobody.

    It can be run again: what an attempt that was cut off has left is found.
    """
    from include.ratchet.erasure.erase import erase_subject

    workspace, context = open_workspace(), get_current_context()
    params = context["params"]
    try:
        certificate = erase_subject(
            workspace, workspace.model(model), str(params.get("subject") or ""), actor=actor_of(context["dag_run"]),
            reason=str(params.get("reason") or ""), retrain=bool(params.get("retrain")),
        )  # fmt: skip
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("%d rows of %d tables are gone. %s", certificate.rows, len(certificate.tables), certificate.promise)
    return certificate.to_dict()


def ask(model: str, certificate: Json) -> Iterator[Metadata]:
    """Wake the training DAG where the form asks for a training without the person. Skipped where it does not."""
    if not certificate["retraining"]:
        nothing = "no training was asked for, or no champion had learned from them"
        raise AirflowSkipException(nothing)
    yield Metadata(retraining_asset(model), extra={"requests": [certificate["retraining"]], "count": 1})
