"""A new model's folder, made from a template that passes `check` and trains as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from include.ratchet.errors import SpecError
from include.ratchet.spec.training import TASK_METRICS

TEMPLATE = Path(__file__).with_name("template")
_VALUE = "CASE WHEN NOT decision THEN 0 WHEN is_returned THEN 0.3 * price ELSE -2 END"
"""Of the template's invented orders: a call that keeps an order saves its handling, one in vain costs two."""


@dataclass(frozen=True)
class Answers:
    """What whoever makes a model says of its scope; the template's own words where nothing is said.

    Attributes:
        owner: team or person.
        problem: the business problem, and who has it.
        decision: who does what with an answer.
        metric: that decides.
        guardrail: a metric that must not get worse.
        present: what the present process reaches by the metric that decides.
        latency_ms: that an answer may take.
        unit: that the business counts in.
        value: what a prediction is worth, as a SQL expression.
    """

    owner: str = "your-team"
    problem: str = "Which problem of whose business the model is there to solve."
    decision: str = "Who does what with an answer, and what a wrong one costs."
    metric: str = "roc_auc"
    guardrail: str | None = None
    present: float | None = None
    latency_ms: float | None = None
    unit: str = "EUR"
    value: str = _VALUE


def make_model(models_dir: Path, name: str, answers: Answers | None = None) -> Path:
    """Make the folder of a new model.

    Raises:
        SpecError: the name cannot be a model's, there is such a folder already, or an answer cannot be.
    """
    answers = answers or Answers()
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        message = f"name: found {name!r}; expected small letters, digits and underscores, such as order_returns"
        raise SpecError(message)
    for where, metric in (("metric", answers.metric), ("guardrail", answers.guardrail)):
        if metric is not None and metric not in TASK_METRICS["binary"]:
            message = f"{where}: found {metric!r}; expected one of {', '.join(TASK_METRICS['binary'])}"
            raise SpecError(message)
    folder = models_dir / name
    if folder.exists():
        message = f"{folder} is there already; choose another name, or remove the folder"
        raise SpecError(message)
    owner = yaml.safe_dump({"owner": answers.owner}, allow_unicode=True, width=120)
    words = {"name": name, "owner": owner, "scope": _write_scope(answers), "metric": answers.metric}
    folder.mkdir(parents=True)
    for source in sorted(TEMPLATE.iterdir()):
        if source.is_file():
            text = source.read_text(encoding="utf-8")
            (folder / source.name).write_text(text.format(**words) if source.suffix == ".yaml" else text)
    return folder


def _write_scope(answers: Answers) -> str:
    scope: dict[str, Any] = {"problem": answers.problem, "decision": answers.decision}
    if answers.guardrail is not None:
        scope["guardrails"] = {answers.guardrail: 0.02}
    if answers.present is not None:
        source = "as whoever made this model said; write down who measured it, on which rows"
        scope["references"] = {"today": {"kind": "present_process", "value": answers.present, "source": source}}
    if answers.latency_ms is not None:
        scope["constraints"] = {"latency_ms": answers.latency_ms}
    scope["business"] = {"name": "worth", "unit": answers.unit, "value": answers.value}
    return yaml.safe_dump({"scope": scope}, sort_keys=False, allow_unicode=True, width=120)
