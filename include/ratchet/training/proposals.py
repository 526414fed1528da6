"""Which hyperparameters to try: the space of a spec, as Optuna distributions and as points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import optuna

from include.ratchet.spec import ModelSpec
from include.ratchet.spec.training import Choice, FloatRange, IntRange

CANDIDATE = "candidate"
"""The first parameter of every trial: which kind of estimator."""

Point = dict[str, Any]


def suggest(trial: optuna.Trial, spec: ModelSpec) -> Point:
    """Let Optuna choose a candidate and its parameters: `{"candidate": "logistic", "C": 0.1}`."""
    candidates = spec.training.candidates
    name = trial.suggest_categorical(CANDIDATE, list(candidates))
    chosen: Point = {CANDIDATE: name}
    for parameter, domain in candidates[name].space.items():
        full = f"{name}.{parameter}"
        if isinstance(domain, Choice):
            chosen[parameter] = trial.suggest_categorical(full, list(domain.choice))
        elif isinstance(domain, IntRange):
            chosen[parameter] = trial.suggest_int(full, *domain.int, log=domain.log)
        else:
            chosen[parameter] = trial.suggest_float(full, *domain.float, log=domain.log)
    return chosen


def fixed_points(spec: ModelSpec, strategy: str, trials: int) -> list[Point]:
    """The points that a strategy wants tried whatever the results, as Optuna's full parameter names.

    Grid and random searches are fixed entirely, so that they give the same trials on any number of workers.
    The others begin with the middle of each candidate's space.
    """
    if strategy == "grid":
        return list(itertools.islice(_grid(spec, trials), trials))
    if strategy == "random":
        generator = np.random.default_rng(spec.training.seed)
        return [_random_point(spec, generator, number) for number in range(trials)]
    names = list(spec.training.candidates)[:trials]
    return [_point(spec, name, {p: _levels(d, 1)[0] for p, d in _space(spec, name).items()}) for name in names]


def _grid(spec: ModelSpec, trials: int) -> Iterator[Point]:
    """Every combination, each range in as many levels as the budget allows, the candidates taking turns."""
    names = list(spec.training.candidates)
    per_candidate = max(1, trials // len(names))
    grids = []
    for name in names:
        space = _space(spec, name)
        levels = _affordable_levels(space, per_candidate)
        values = [_levels(domain, levels) for domain in space.values()]
        grids.append([_point(spec, name, dict(zip(space, combination, strict=True)))
                      for combination in itertools.product(*values)])  # fmt: skip
    for row in itertools.zip_longest(*grids):
        yield from (point for point in row if point is not None)


def _affordable_levels(space: Mapping[str, Any], budget: int) -> int:
    levels = 1
    while space and int(np.prod([len(_levels(domain, levels + 1)) for domain in space.values()])) <= budget:
        if levels >= budget:
            break
        levels += 1
    return levels


def _levels(domain: IntRange | FloatRange | Choice, count: int) -> list[Any]:
    """Some values spread evenly over a domain; one: its middle."""
    if isinstance(domain, Choice):
        return list(domain.choice)
    low, high = domain.int if isinstance(domain, IntRange) else domain.float
    shares = np.array([0.5]) if count == 1 else np.linspace(0, 1, count)
    values = low * (high / low) ** shares if domain.log else low + (high - low) * shares
    if isinstance(domain, IntRange):
        return sorted({round(float(value)) for value in values})
    return [float(value) for value in np.clip(values, low, high)]


def _random_point(spec: ModelSpec, generator: np.random.Generator, number: int) -> Point:
    names = list(spec.training.candidates)
    name = names[number % len(names)]
    values: Point = {}
    for parameter, domain in _space(spec, name).items():
        if isinstance(domain, Choice):
            values[parameter] = domain.choice[int(generator.integers(len(domain.choice)))]
            continue
        low, high = domain.int if isinstance(domain, IntRange) else domain.float
        share = float(generator.random())
        value = low * (high / low) ** share if domain.log else low + (high - low) * share
        values[parameter] = round(value) if isinstance(domain, IntRange) else value
    return _point(spec, name, values)


def _space(spec: ModelSpec, name: str) -> Mapping[str, IntRange | FloatRange | Choice]:
    return spec.training.candidates[name].space


def _point(spec: ModelSpec, name: str, values: Point) -> Point:
    return {CANDIDATE: name, **{f"{name}.{parameter}": value for parameter, value in values.items()}}
