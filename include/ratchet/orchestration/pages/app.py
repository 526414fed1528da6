"""The app: pages and scripts, the JSON API that they use, and the files that they show."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from include.ratchet.errors import (
    IncidentNotFoundError,
    LedgerConflictError,
    ModelNotFoundError,
    RatchetError,
    RecordNotFoundError,
    RegistryUnavailableError,
    StoreError,
    VersionNotFoundError,
)
from include.ratchet.exports import FACETS
from include.ratchet.orchestration.pages import actions, files, reads

STATIC = Path(__file__).with_name("static")
PAGES = {"models": "Models", "model": "Model", "requests": "Requests"}
HEADERS = files.HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
}
_STATUS: dict[type[RatchetError], int] = {
    ModelNotFoundError: 404, VersionNotFoundError: 404, RecordNotFoundError: 404, IncidentNotFoundError: 404,
    LedgerConflictError: 409, RegistryUnavailableError: 502, StoreError: 502,
}  # fmt: skip

app = FastAPI(title="Ratchet", openapi_url=None, docs_url=None, redoc_url=None)
api = FastAPI(title="Ratchet", version="1", description=reads.__doc__ or "", docs_url=None, redoc_url=None)
"""The pages' JSON, with its description in `openapi.json`."""


@app.get("/")
def home() -> Response:
    """The fleet."""
    return RedirectResponse("models")


@app.get("/{page}", name="page")
def show_page(page: str, user: GetUserDep) -> Response:
    """A page's frame; what it shows comes by the API."""
    if page not in PAGES:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no such page; expected one of {', '.join(PAGES)}")
    content = (STATIC / "page.html").read_text().replace("{{page}}", page).replace("{{title}}", PAGES[page])
    return Response(content, media_type="text/html; charset=utf-8", headers=HEADERS)


@app.get("/static/plotly.js")
def plotly() -> Response:
    """Plotly's script, out of the package that Evidently brings."""
    found = importlib.util.find_spec("plotly")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else STATIC
    return FileResponse(folder / "package_data" / "plotly.min.js", media_type="text/javascript", headers={
        "Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff",
    })  # fmt: skip


class _Scripts(StaticFiles):
    """Our own scripts and styles: asked for again each time, and sent again only if they changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update({"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})
        return response


def _answer(request: Request, error: Exception) -> Response:
    """What the engine refuses, in its own words."""
    code = next((number for kind, number in _STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"detail": str(error)}, code)


api.include_router(reads.router)
api.include_router(actions.router)
api.add_exception_handler(RatchetError, _answer)
app.mount("/api/v1", api)
app.mount("/static", _Scripts(directory=STATIC))
app.mount("/facets", _Scripts(directory=FACETS))
app.include_router(files.router)
app.add_exception_handler(status.HTTP_401_UNAUTHORIZED, files.ask_login)
