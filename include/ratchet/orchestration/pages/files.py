"""Validation pages, drift reports and model cards in the browser.

Whoever may read a model's DAG may read its pages. Pages are read-only and may run no script, whatever stands in them.
"""

from __future__ import annotations

import re

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from fastapi.responses import JSONResponse, RedirectResponse

from include.ratchet.data.blobs import open_blobs
from include.ratchet.errors import RegistryUnavailableError, VersionNotFoundError
from include.ratchet.orchestration.assets import INGEST, MONITOR, TRAIN, dag_id
from include.ratchet.orchestration.connections import current_settings
from include.ratchet.orchestration.pages.access import check_read
from include.ratchet.registry.artifacts import open_version

REPORT_FILES = {"index.html": "text/html; charset=utf-8", "results.json": "application/json"}
SAFE = re.compile(r"[\w-][\w.-]*")
"""One part of a path: no slash of any kind, and no dot at its head."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}

DRAWN = HEADERS | {
    # Evidently's page draws itself, with the script that it brings. In a sandbox that belongs to no site: what it may
    # run can neither read this server nor speak to any.
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
    ),
}

router = APIRouter()


def _check_reports(model: str, user: GetUserDep) -> None:
    check_read(user, dag_id(INGEST, model))


def _check_cards(slug: str, user: GetUserDep) -> None:
    check_read(user, dag_id(TRAIN, slug.partition(".")[0]))


def _check_monitor(slug: str, user: GetUserDep) -> None:
    check_read(user, dag_id(MONITOR, slug.partition(".")[0]))


@router.get("/reports/{model}/{table}/{subject}/{run}/{file}", dependencies=[Depends(_check_reports)])
def report(model: str, table: str, subject: str, run: str, file: str) -> Response:
    """One validation: the page, or the results as JSON."""
    parts = (model, table, subject, run, file)
    if file not in REPORT_FILES or not all(SAFE.fullmatch(part) for part in parts):
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no such page; expected one of {', '.join(REPORT_FILES)}")
    content = open_blobs(current_settings()).get("/".join(("validation", *parts)))
    if content is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no validation of {model}: {table} {subject} by run {run}")
    return Response(content, media_type=REPORT_FILES[file], headers=HEADERS)


@router.get("/cards/{slug}/{version}/", dependencies=[Depends(_check_cards)])
def card(slug: str, version: int) -> Response:
    """A version's model card."""
    return Response(_fetch(slug, version, "card.html"), media_type="text/html; charset=utf-8", headers=HEADERS)


@router.get("/cards/{slug}/{version}/plots/{name}", dependencies=[Depends(_check_cards)])
def plot(slug: str, version: int, name: str) -> Response:
    """One plot of a card."""
    if not SAFE.fullmatch(name) or not name.endswith(".png"):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such plot; expected the name of a .png file")
    return Response(_fetch(slug, version, f"plots/{name}"), media_type="image/png", headers=HEADERS)


@router.get("/drift/{slug}/{partition}/", dependencies=[Depends(_check_monitor)])
def drift(slug: str, partition: str) -> Response:
    """Evidently's report of what moved in a partition."""
    content = None
    if SAFE.fullmatch(slug) and SAFE.fullmatch(partition):
        content = open_blobs(current_settings()).get(f"monitoring/{slug}/reports/{partition}/report.html")
    if content is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no report of {slug} {partition}: nothing moved, or not drawn")
    return Response(content, media_type="text/html; charset=utf-8", headers=DRAWN)


async def ask_login(request: Request, error: Exception) -> Response:
    """Send a person to the login and back here afterwards; a program is told that it must log in."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": getattr(error, "detail", "")}, status.HTTP_401_UNAUTHORIZED)
    # The path of the whole server, which this app is only mounted in.
    base = request.scope.get("app_root_path", "").rstrip("/")
    login = request.url.replace(path=f"{base}/api/v2/auth/login", query="", fragment="")
    return RedirectResponse(str(login.include_query_params(next=str(request.url))), status.HTTP_303_SEE_OTHER)


def _fetch(slug: str, version: int, path: str) -> bytes:
    if not SAFE.fullmatch(slug):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such model")
    try:
        return open_version(slug, version, current_settings()).read(path)
    except VersionNotFoundError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    except RegistryUnavailableError as error:
        raise HTTPException(status.HTTP_502_BAD_GATEWAY, str(error)) from error
