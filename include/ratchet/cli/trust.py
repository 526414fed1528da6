"""What people may ask of a model beside its numbers: to be forgotten, and to be told how it came to an answer."""

from __future__ import annotations

import getpass
import html
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from include.ratchet.cli.models import ModelName
from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say
from include.ratchet.cli.segments import KeyName, choose


def erase(
    model: ModelName,
    subject: Annotated[str, typer.Option(help="The person, as the column of `privacy.subject` has them.")],
    reason: Annotated[str, typer.Option(help="Why, such as the number of their request; not who they are.")],
    retrain: Annotated[bool, typer.Option(help="Ask for a training without them where a champion knew them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again; nothing brings it back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a person out of all that is kept of a model, and enter a certificate in the ledger.

    Example: `./ratchet erase order_returns --subject customer-0007 --reason "request 17" --retrain`
    """
    from include.ratchet.erasure.erase import erase_subject

    workspace = open_workspace()
    found = workspace.model(model)
    if not yes and not as_json:
        typer.confirm(f"Erase {subject} from everything that is kept of {model}? It cannot be undone", abort=True,
                      err=True)  # fmt: skip
    try:
        certificate = erase_subject(workspace, found, subject, actor=getpass.getuser(), reason=reason, retrain=retrain)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        emit(certificate.to_dict())
        return
    table = Table("where", "rows", box=None, title="erased", title_justify="left")
    for name, rows in (*certificate.tables.items(), *certificate.snapshots.items()):
        table.add_row(plain(name if len(name) < 64 else f"training set {name[:12]}"), str(rows))
    console.print(table)
    console.print(f"{len(certificate.files)} reports and other files that quoted them are gone")
    for name in certificate.left:
        say(f"still quoted in {name}: not changed, as it is a version's own")
    if not certificate.searched:
        say("the identifier is too short to be told from other words: files were not searched for it")
    say(f"{certificate.promise}.")
    if certificate.retraining:
        say(f"a training without them is asked for: {certificate.retraining}")


def audit(
    model: KeyName,
    at: Annotated[str | None, typer.Option(help="The instant: 2013-12-20T15:00. Now, if left out.")] = None,
    request_id: Annotated[str | None, typer.Option("--request", help="Of one request; its time is taken.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the page there as HTML, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say on one page which version answered, from what and by which code, through which gates, approved by whom.

    Example: `./ratchet audit flight_delay --at 2013-12-20T15:00 --output audit.html`
    """
    from rich.markdown import Markdown

    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.registry.card import render_html
    from include.ratchet.views.audit import audit_model, render_audit

    workspace = open_workspace()
    chosen = choose(workspace, model)
    instant = read_instant(chosen.model.spec, at) if at else workspace.clock()
    found = audit_model(workspace, chosen.key, instant, request_id)
    page = render_audit(found)
    if output is not None:
        output.write_text(render_html(page, f"Audit of {found.key}"))
    if as_json:
        emit(found.to_dict())
        return
    console.print(Markdown(html.unescape(page)))
    if output is not None:
        console.print(f"written to {output}")
