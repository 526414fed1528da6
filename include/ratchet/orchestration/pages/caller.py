"""Airflow's own public API, called within its server and in the name of whoever asks.

So that its rights, its checks and its audit log hold for what the pages do too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
from fastapi import Depends, HTTPException, Request

PARENT = "ratchet.airflow"
"""In a request's scope: the app that ours is mounted in."""


class Caller:
    """Whoever has sent a request, as a client of Airflow's API."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **params: Any) -> Any:
        """Read something below `/api/v2`.

        Raises:
            HTTPException: with Airflow's own status and words.
        """
        return _read(await self._http.get(f"/api/v2{path}", params=params))

    async def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Change something below `/api/v2`.

        Raises:
            HTTPException: with Airflow's own status and words.
        """
        return _read(await self._http.request(method, f"/api/v2{path}", json=body))

    async def trigger(self, dag: str, run: str, conf: dict[str, Any], note: str) -> None:
        """Start a run of a name; one that was started before stays as it is."""
        body = {"dag_run_id": run, "logical_date": None, "conf": conf, "note": note[:1000]}
        answer = await self._http.post(f"/api/v2/dags/{dag}/dagRuns", json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            _read(answer)


async def call(request: Request) -> AsyncIterator[Caller]:
    """Airflow's API for this request's sender."""
    own = {name: value for name, value in request.headers.items() if name in ("authorization", "cookie")}
    transport = httpx.ASGITransport(app=request.scope[PARENT], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow", headers=own, timeout=60) as http:
        yield Caller(http)


CallerDep = Annotated[Caller, Depends(call)]


def _read(answer: httpx.Response) -> Any:
    if answer.is_error:
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError):
            detail = answer.text[:500]
        raise HTTPException(answer.status_code, detail)
    return answer.json() if answer.content else None
