"""What the evidence asks for: go on, wait, ask a person, or go back. No input, no output, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from include.ratchet.rollout.evidence import Evidence
from include.ratchet.rollout.sequential import BURN_IN_ROWS, Bounds, difference_bounds, mean_bounds
from include.ratchet.rollout.state import Action, RolloutState
from include.ratchet.spec import format_duration
from include.ratchet.spec.serving import GuardsSpec, RolloutSpec


@dataclass(frozen=True)
class Decision:
    """What to do with a hand-over now.

    Attributes:
        action: what.
        reason: why, in a sentence.
        numbers: all that was known when it was decided.
    """

    action: Action
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


def look(spec: RolloutSpec, state: RolloutState, evidence: Evidence) -> Decision:
    """Decide on the evidence: guards first, then the sequential test on loss, then time.

    The present is the evidence's `as_of`, never the wall clock.
    """
    bounds = compare(spec, state, evidence)
    numbers = {"stage": state.at.name, **evidence.to_dict(), "difference": bounds.to_dict() if bounds else None,
               "margin": spec.margin, "alpha": state.alpha}  # fmt: skip
    action, reason = _decide(spec, state, evidence, bounds)
    return Decision(action, reason, numbers)


def find_breaches(guards: GuardsSpec, evidence: Evidence) -> tuple[str, ...]:
    """The guards that the version in question has broken, each with its numbers; none before it has enough rows."""
    arm, champion = evidence.subject, evidence.champion
    if arm.rows < guards.min_rows:
        return ()
    found = []
    if arm.error_share > guards.max_error_share:
        found.append(
            f"errors in {arm.error_share:.2%} of {arm.rows} rows, at most {guards.max_error_share:.2%} allowed"
        )
    if arm.null_share > guards.max_null_share:
        found.append(
            f"no output in {arm.null_share:.2%} of {arm.rows} rows, at most {guards.max_null_share:.2%} allowed"
        )
    if arm.latency_p99_ms is not None and arm.latency_p99_ms > guards.max_latency_ms:
        found.append(f"latency p99 of {arm.latency_p99_ms:.0f} ms, at most {guards.max_latency_ms:g} ms allowed")
    # Where the champion says one thing only as well, that is what there is to say.
    is_lone = arm is champion or champion.distinct != 1
    if arm.scored >= guards.min_rows and arm.distinct == 1 and is_lone:
        found.append(f"the same output for all of {arm.scored} rows")
    is_many = arm is not champion and min(arm.scored, champion.scored) >= guards.min_rows
    if is_many and evidence.shift is not None and evidence.shift > guards.max_shift:
        found.append(
            f"scores shifted by {evidence.shift:.2f} (Kolmogorov-Smirnov), at most {guards.max_shift:g} allowed"
        )
    return tuple(found)


def compare(spec: RolloutSpec, state: RolloutState, evidence: Evidence) -> Bounds | None:
    """The challenger's loss less the champion's, with bounds that hold however often one looks; None if deferring.

    Both versions of the same rows where the stage has them predict the same rows, two groups of keys elsewhere.
    """
    if evidence.challenger is None:
        return None
    if state.at.is_shadowed:
        return mean_bounds(evidence.paired, state.alpha, spec.min_rows)
    return difference_bounds(evidence.challenger.loss, evidence.champion.loss, state.alpha, spec.min_rows)


def is_final_switch(state: RolloutState) -> bool:
    """Whether the next step is the one from which the challenger answers everything."""
    return state.at.share < 1 and (state.next is None or state.next.share >= 1)


def _decide(
    spec: RolloutSpec, state: RolloutState, evidence: Evidence, bounds: Bounds | None
) -> tuple[Action, str]:  # fmt: skip
    breaches = find_breaches(spec.guards, evidence)
    if breaches:
        return "revert", "; ".join(breaches)
    if bounds is None:
        return "wait", _describe_people(evidence)
    is_enough = bounds.rows >= max(spec.min_rows, BURN_IN_ROWS)
    tolerated = 0.0 if state.strategy == "ab" else spec.margin
    if is_enough and bounds.low > tolerated:
        return "revert", f"surely worse: loss differs by {bounds} over {bounds.rows} rows, {tolerated:g} tolerated"
    if state.status == "paused":
        return "wait", f"paused: {state.reason}"
    if state.status == "waiting_approval":
        return _wait_for_word(spec, state, evidence)
    missing = _find_missing(spec, state, evidence, bounds, is_enough=is_enough)
    if not missing:
        return _go_on(spec, state, evidence, bounds)
    if evidence.as_of - state.stage_since > spec.max_time:
        return "revert", f"no decision within {format_duration(spec.max_time)}: {'; '.join(missing)}"
    return "wait", "; ".join(missing)


def _go_on(spec: RolloutSpec, state: RolloutState, evidence: Evidence, bounds: Bounds) -> tuple[Action, str]:
    words = f"loss differs by {bounds} over {bounds.rows} rows, guards hold over {evidence.subject.rows} rows"
    if spec.approval.required and is_final_switch(state):
        return "ask", f"a person's word is wanted before version {state.challenger} answers everything: {words}"
    return ("advance" if state.next else "finish"), words


def _wait_for_word(spec: RolloutSpec, state: RolloutState, evidence: Evidence) -> tuple[Action, str]:
    asked = state.asked_at or state.stage_since
    if evidence.as_of - asked > spec.approval.timeout:
        return "revert", f"nobody approved within {format_duration(spec.approval.timeout)}"
    return "wait", f"waiting for a person's word since {asked:%Y-%m-%d %H:%M}"


def _find_missing(
    spec: RolloutSpec, state: RolloutState, evidence: Evidence, bounds: Bounds, *, is_enough: bool
) -> list[str]:  # fmt: skip
    """What a stage still lacks before it may end well."""
    arm, elapsed = evidence.subject, evidence.as_of - state.stage_since
    missing = []
    if arm.rows < spec.guards.min_rows:
        missing.append(f"{arm.rows} of {spec.guards.min_rows} rows that the guards need")
    if state.strategy == "blue_green":
        # Loaded and looked at, it is switched; a switch is taken back at any moment.
        is_soon = state.at.share >= 1 and elapsed < spec.min_time
        return [*missing, *([_describe_time(elapsed, spec.min_time)] if is_soon else [])]
    if elapsed < spec.min_time:
        missing.append(_describe_time(elapsed, spec.min_time))
    if not is_enough:
        missing.append(f"{bounds.rows} of {max(spec.min_rows, BURN_IN_ROWS)} labelled rows")
    elif state.strategy == "ab" and not bounds.high < 0:
        missing.append(f"not surely better yet: loss differs by {bounds}")
    elif bounds.high > spec.margin:
        missing.append(f"not surely good enough yet: loss differs by {bounds}, {spec.margin:g} tolerated")
    return missing


def _describe_time(elapsed: timedelta, least: timedelta) -> str:
    return f"{elapsed.total_seconds() / 3600:.1f} of {least.total_seconds() / 3600:g} hours"


def _describe_people(evidence: Evidence) -> str:
    human = evidence.human
    if human is None or not human.rows:
        return "no answer of a person yet"
    words = f"people and version {evidence.champion.version} agree on {human.agreement:.1%} of {human.rows} rows"
    if human.labelled == 0:
        return words
    levels = f"people {human.people:.4f}, model {human.model:.4f}"
    return f"{words}; {human.measure} on {human.labelled} labelled rows: {levels}"
