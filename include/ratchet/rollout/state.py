"""Where a hand-over stands: one frozen value, kept as one row, from which the routes follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from include.ratchet.rollout.routes import Route
from include.ratchet.spec import ModelKey
from include.ratchet.spec.serving import RolloutSpec, Strategy

Status = Literal["running", "waiting_approval", "paused", "finished", "reverted"]
Action = Literal["none", "start", "wait", "ask", "advance", "finish", "revert", "pause", "resume"]
"""What is done with a hand-over: `wait` changes nothing, `ask` waits for a person's word."""
ACTIVE: frozenset[Status] = frozenset({"running", "waiting_approval", "paused"})


@dataclass(frozen=True)
class Stage:
    """One step of a hand-over.

    Attributes:
        name: as people read it.
        mode: of the routes.
        share: of the keys that the challenger answers; in `defer`, that the model answers.
        is_shadowed: the version that does not answer predicts too, so that both are seen on the same rows.
    """

    name: str
    mode: Strategy
    share: float
    is_shadowed: bool


@dataclass(frozen=True)
class RolloutState:
    """A hand-over of one model key.

    Attributes:
        key: of the model.
        strategy: as its spec said when it began.
        champion: answers until it is over; in `defer`, the only version.
        challenger: may become champion.
        challenger_as_of: what the challenger knew.
        stages: as the spec said when it began.
        stage: position of the present one.
        status: whether it goes on.
        started_at: when it began, in the records' time.
        stage_since: since when the stage's evidence counts, in the records' time.
        asked_at: since when a person's word is waited for.
        alpha: chance of a wrong decision of one stage: the spec's, divided among the stages.
        revision: grows by one with every change of the row, over all hand-overs of the key.
        salt: of the keys' buckets.
        action: what changed it last.
        actor: who or what did.
        once: the order of which that was the work.
        reason: why.
        numbers: on which it was changed.
    """

    key: ModelKey
    strategy: Strategy
    champion: int
    challenger: int | None
    challenger_as_of: datetime | None
    stages: tuple[Stage, ...]
    stage: int
    status: Status
    started_at: datetime
    stage_since: datetime
    alpha: float
    revision: int
    salt: str
    action: Action
    actor: str
    reason: str
    once: str | None = None
    asked_at: datetime | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Whether it is still in hand."""
        return self.status in ACTIVE

    @property
    def at(self) -> Stage:
        """The present stage."""
        return self.stages[self.stage]

    @property
    def next(self) -> Stage | None:
        """The stage after this one, if there is one."""
        return self.stages[self.stage + 1] if self.stage + 1 < len(self.stages) else None

    @property
    def spent(self) -> float:
        """Chance of a wrong decision that the stages so far have taken."""
        return self.alpha * (self.stage + 1)

    def to_route(self) -> Route | None:
        """How rows are divided; None: the champion answers all.

        A deferring model that was reverted answers nobody: people do what they did before it came.
        """
        if self.status == "reverted" and self.strategy == "defer":
            return Route("defer", self.champion, share=0.0, salt=self.salt)
        if not self.is_active:
            return None
        stage = self.at
        return Route(stage.mode, self.champion, self.challenger, stage.share, self.salt, stage.is_shadowed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with the routes that follow from it, which the prediction service reads."""
        route = self.to_route()
        times = {name: _text(getattr(self, name)) for name in _TIMES}
        derived = {"spent": self.spent, "stage_name": self.at.name, "route": route.to_dict() if route else None}
        return {**asdict(self), "key": list(self.key), "numbers": finite(self.numbers), **times, **derived}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RolloutState:
        """The state back from its JSON form."""
        own = {name: value for name, value in content.items() if name in cls.__dataclass_fields__}
        times = {name: datetime.fromisoformat(own[name]) if own[name] else None for name in _TIMES}
        stages = tuple(Stage(**stage) for stage in own["stages"])
        return cls(**{**own, **times, "key": ModelKey(*own["key"]), "stages": stages})


_TIMES = ("started_at", "stage_since", "challenger_as_of", "asked_at")


def stages_of(spec: RolloutSpec) -> tuple[Stage, ...]:
    """The stages that a spec asks for; none if the verdict itself moves the champion.

    In all but A/B tests and deferral both versions predict every row, off the response path where they do not answer:
    the same labels judge both, which takes a small part of the rows that two groups of keys would take.
    """
    shadow = Stage("shadow", "shadow", 0.0, is_shadowed=True)
    match spec.strategy:
        case "direct":
            return ()
        case "shadow":
            return (shadow,)
        case "canary":
            steps = (Stage(f"canary {step:g} %", "canary", step / 100, is_shadowed=True) for step in spec.steps)
            return (*((shadow,) if spec.shadow_first else ()), *steps)
        case "ab":
            return (Stage(f"A/B {spec.split:g} %", "ab", spec.split / 100, is_shadowed=False),)
        case "blue_green":
            return (
                Stage("green", "blue_green", 0.0, is_shadowed=True),
                Stage("switched", "blue_green", 1.0, is_shadowed=True),
            )
        case "defer":
            return (Stage(f"defer, {spec.answered:g} % answered", "defer", spec.answered / 100, is_shadowed=False),)


def stage_alpha(spec: RolloutSpec) -> float:
    """The chance of a wrong decision that each stage may take (union bound over the stages)."""
    return spec.alpha / max(1, len(stages_of(spec)))


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def finite(value: Any) -> Any:
    """A tree of numbers as JSON holds it: what is not finite is null."""
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
