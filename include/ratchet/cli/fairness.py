"""How alike groups fare, from the command line: at each promotion, in production over time, and by other thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say
from include.ratchet.cli.segments import KeyName, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.ratchet.evaluation.parity import Change, Parity
    from include.ratchet.evaluation.thresholds import WhatIf
    from include.ratchet.monitoring.parity import FairnessHistory, PromotionParity


def fairness(
    model: KeyName,
    last: Annotated[int, typer.Option(min=1, help="How many days of records, the newest.")] = 56,
    days: Annotated[int, typer.Option(min=1, help="Days of one stretch of time.")] = 7,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Also say what other thresholds would have cost, one for all or by group.")
    ] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Records of batch scoring, not of requests.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how alike the groups of the sensitive attributes fare, before and after each promotion and over time.

    Example: `./ratchet fairness flight_delay --what-if`
    """
    from include.ratchet.monitoring.parity import read_fairness, read_promotions

    workspace = open_workspace()
    chosen = choose(workspace, model)
    spec = chosen.model.spec
    if not spec.evaluation.sensitive:
        message = (
            f"{spec.name}: evaluation.sensitive names no attribute; expected the columns over which groups compare"
        )
        raise typer.BadParameter(message)
    promotions = read_promotions(workspace.settings, chosen.key)
    history = read_fairness(workspace.settings, chosen.model, chosen.key, workspace.clock(), days=days, last=last,
                            kind="scores" if batch else "requests")  # fmt: skip
    plans, of = history.what_if, f"rows that were answered in the last {last} days"
    if not plans and promotions:
        plans, of = promotions[-1].thresholds, f"the test rows of version {promotions[-1].version}"
    if as_json:
        told = {**history.to_dict(), "what_if": {"of": of, "plans": [one.to_dict() for one in plans]}}
        if not what_if:
            del told["what_if"]
        emit({"promotions": [{"version": one.version, "at": one.at, "parity": [each.to_dict() for each in one.parity]}
                             for one in promotions], **told})  # fmt: skip
        return
    _show_promotions(promotions)
    _show_history(history)
    for one in plans if what_if else ():
        _show_plans(one, of)
    if what_if and not plans:
        say("no thresholds to compare: it takes a binary task and two groups with enough labelled rows of both classes")


def _gaps(parities: Sequence[Parity]) -> Iterator[tuple[str, Change]]:
    for parity in parities:
        for change in parity.gaps:
            yield parity.column, change


def _show_promotions(promotions: Sequence[PromotionParity]) -> None:
    from include.ratchet.registry.trust import words_of

    table = Table("version", "promoted", "over", "largest difference of", "before", "after", "change",
                  title="at each promotion, on the same test rows", title_justify="left")  # fmt: skip
    for one in promotions:
        for column, change in _gaps(one.parity):
            cells = (one.version, f"{one.at:%Y-%m-%d}", column, words_of(change.rate), change.before or "",
                     change.after, change.change or "")  # fmt: skip
            table.add_row(*map(plain, cells))
    if table.row_count:
        console.print(table)
    else:
        say("no promotion whose test rows have two groups that are large enough")


def _show_history(history: FairnessHistory) -> None:
    from include.ratchet.registry.trust import words_of

    if not history.rows:
        say("nothing was answered yet, so there is no fairness in production to tell")
        return
    say(f"in production: {history.rows} rows, {history.labelled} of them with a label")
    table = Table("from", "version", "rows", "over", "largest difference of", "found", "labels that have come",
                  title="over time", title_justify="left")  # fmt: skip
    for one in history.periods:
        for column, change in _gaps(one.parity):
            arrived = ", ".join(f"{group} {share:.0%}" for group, share in sorted(one.arrived[column].items())[:8])
            since, rate = f"{one.start:%Y-%m-%d}", words_of(change.rate)
            table.add_row(*map(plain, (since, one.version, one.rows, column, rate, change.after, arrived)))
    if table.row_count:
        console.print(table)
    else:
        say("no stretch of time has two groups with evaluation.min_slice_rows labelled rows; try longer --days")
    _show_successions(history)
    _show_slices(history)


def _show_successions(history: FairnessHistory) -> None:
    from include.ratchet.registry.trust import words_of

    title = "from one version to the next, each on the rows that it answered"
    table = Table("versions", "over", "largest difference of", "before", "after", "change", title=title,
                  title_justify="left")  # fmt: skip
    for step in history.successions:
        for column, change in _gaps(step.parity):
            cells = (f"{step.before} to {step.after}", column, words_of(change.rate), change.before, change.after,
                     change.change)  # fmt: skip
            table.add_row(*map(plain, cells))
    if table.row_count:
        console.print(table)


def _show_slices(history: FairnessHistory) -> None:
    from include.ratchet.registry.trust import words_of

    table = Table("within", "over", "largest difference of", "found", title="within slices, of the newest version",
                  title_justify="left")  # fmt: skip
    for name, parity in history.slices:
        for column, change in _gaps([parity]):
            table.add_row(*map(plain, (name, column, words_of(change.rate), change.after)))
    if table.row_count:
        console.print(table)


def _show_plans(plans: WhatIf, of: str) -> None:
    from include.ratchet.registry.trust import GAPS, LAWFUL, costs_in_words, rules_in_words, words_of

    table = Table("thresholds", "each group's", "cost of 1,000 rows", "change", *map(words_of, GAPS),
                  title=f"what other thresholds over {plans.column} would cost, on {of}",
                  title_justify="left")  # fmt: skip
    for plan in plans.plans:
        gaps = (f"{plan.gaps[name]:.3f}" for name in GAPS)
        change = f"{plan.change.value:+.1f} ({plan.change.low:+.1f} to {plan.change.high:+.1f})"
        table.add_row(*map(plain, (plan.name, rules_in_words(plan), f"{plan.cost.value:.1f}", change, *gaps)))
    console.print(table)
    say(costs_in_words(plans))
    say(LAWFUL)
