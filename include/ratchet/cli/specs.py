"""Specs: checking them, and making a new model's folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from include.ratchet.cli.output import JsonOption, console, emit, settings
from include.ratchet.errors import SpecError
from include.ratchet.spec import get_model, load_models


def check(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, as_json: JsonOption = False
) -> None:
    """Say of every spec whether it is valid, and what is wrong, where, and what to do; and what it will leave undone.

    Example: `./ratchet check flight_delay`
    """
    from include.ratchet.monitoring.performance import find_blindness
    from include.ratchet.pipeline.check import check_model

    models_dir = settings().models_dir
    found = load_models(models_dir) if model is None else {model: get_model(models_dir, model)}
    problems: dict[str, str | None] = {}
    cautions: dict[str, str | None] = {}
    for name, one in found.items():
        try:
            if isinstance(one, SpecError):
                raise one
            check_model(one)
            problems[name], cautions[name] = None, find_blindness(one.spec)
        except SpecError as error:
            problems[name] = str(error)
    if as_json:
        emit({
            name: {"valid": problem is None, "problem": problem, "caution": cautions.get(name)}
            for name, problem in problems.items()
        })  # fmt: skip
    else:
        for name, problem in problems.items():
            console.print(f"[green]valid[/]    {name}" if problem is None else f"[red]not valid[/] {name}")
            if said := problem or cautions.get(name):
                console.print(said, highlight=False, markup=False)
        if not found:
            console.print(f"no model in {models_dir}; ./ratchet new NAME makes one")
    if any(problem is not None for problem in problems.values()):
        raise SystemExit(1)


def new(
    name: Annotated[str, typer.Argument(help="Of the model, such as order_returns.")],
    owner: Annotated[str | None, typer.Option(help="Team or person.")] = None,
    problem: Annotated[str | None, typer.Option(help="The business problem, and who has it.")] = None,
    decision: Annotated[str | None, typer.Option(help="Who does what with an answer.")] = None,
    metric: Annotated[str | None, typer.Option(help="The one that decides.")] = None,
    guardrail: Annotated[str | None, typer.Option(help="A metric that must not get worse.")] = None,
    present: Annotated[float | None, typer.Option(help="What the present process reaches by that metric.")] = None,
    latency_ms: Annotated[float | None, typer.Option(help="That an answer may take.")] = None,
    unit: Annotated[str | None, typer.Option(help="That the business counts in, such as EUR.")] = None,
    value: Annotated[str | None, typer.Option(help="What a prediction is worth: a SQL expression over a row.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model's folder with a spec, features, an estimator and a source that run as they are.

    In a terminal it asks for the scope: what the model is for, and what it is held to. Enter takes what is proposed.

    Example: `./ratchet new order_returns`
    """
    from include.ratchet.spec.scaffold import Answers, make_model

    given = {"owner": owner, "problem": problem, "decision": decision, "metric": metric, "guardrail": guardrail,
             "present": present, "latency_ms": latency_ms, "unit": unit, "value": value}  # fmt: skip
    known: dict[str, Any] = {field: answer for field, answer in given.items() if answer is not None}
    if sys.stdin.isatty() and not as_json:
        known |= _ask_scope([field for field in given if field not in known])
    folder = make_model(settings().models_dir, name, Answers(**known))
    if as_json:
        emit({"folder": str(folder)})
        return
    console.print(f"made {folder}")
    console.print(f"next: read model.yaml there, then ./ratchet check {name} and ./ratchet run {name}")


_QUESTIONS = {
    "owner": ("Who owns it", str), "problem": ("Which problem of whose business does it solve", str),
    "decision": ("Who does what with an answer, and what does a wrong one cost", str),
    "metric": ("Which metric decides", str), "guardrail": ("Which other metric must not get worse (none)", str),
    "present": ("What does the present process reach by the metric that decides (not known)", float),
    "latency_ms": ("How many ms may an answer take (no limit)", float),
    "unit": ("What does the business count in", str),
    "value": ("What is a prediction worth, as a SQL expression over the row, score and decision", str),
}  # fmt: skip


def _ask_scope(missing: Sequence[str]) -> dict[str, Any]:
    """What whoever sits there answers; an empty answer takes what is proposed, or leaves it open."""
    from include.ratchet.spec.scaffold import Answers

    found = {}
    for field in missing:
        question, kind = _QUESTIONS[field]
        proposed = getattr(Answers, field)
        answer = typer.prompt(question, default="" if proposed is None else proposed, type=str, err=True)
        if answer != "":
            try:
                found[field] = kind(answer)
            except ValueError:
                message = f"--{field.replace('_', '-')}: found {answer!r}; expected a number, or nothing"
                raise SystemExit(message) from None
    return found
