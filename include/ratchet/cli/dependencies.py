"""What a model depends on, from the command line: its sources, its features, and what it does back to its labels."""

from __future__ import annotations

import html
from typing import Annotated

import typer

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, progress_bar, say
from include.ratchet.cli.segments import KeyName, choose


def dependencies(
    model: KeyName,
    version: Annotated[
        int | None, typer.Option(min=1, help="Of which version; without one the champion, else the newest.")
    ] = None,
    necessity: Annotated[
        bool, typer.Option("--necessity", help="Fit again without groups of features, to say which could go. Slow.")
    ] = False,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="Also say, by the records until now, what acting on answers does.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how reliable the sources of a version were, what changed in them, what is tied, unused, or could go.

    Example: `./ratchet dependencies flight_delay --necessity`
    """
    from rich.markdown import Markdown

    from include.ratchet.pipeline.dependencies import find_version, read_necessity, read_report
    from include.ratchet.pipeline.feedback import read_feedback
    from include.ratchet.registry.dependencies import render_dependencies

    workspace = open_workspace()
    chosen = choose(workspace, model)
    # Beside a pooled model a segment learns from the same tables; only what acting does is its own.
    found = find_version(workspace, chosen.key.pool if chosen.model.spec.has_whole else chosen.single, version)
    report = read_report(found, workspace.settings)
    needs = loop = None
    if necessity:
        with progress_bar() as advance:
            needs = read_necessity(workspace, chosen.model, found, report,
                                   lambda done, total: advance("refits", done, total))  # fmt: skip
    if feedback:
        loop = read_feedback(workspace.settings, chosen.model, chosen.key, workspace.clock())
    report = report.with_more(needs, loop)
    if as_json:
        emit({"key": str(chosen.key), "version": found.number, **report.to_dict()})
        return
    say(f"version {found.number} of {found.key}")
    console.print(Markdown(html.unescape("\n\n".join(render_dependencies(report)))))
    if feedback and loop is None:
        say(
            "feedback cannot be told: fewer than 50 held-out rows, or others, have a label; hold keys out by "
            "serving.holdout, and wait until their labels have come"
        )
