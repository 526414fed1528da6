"""Airflow's REST API, as far as the command line drives it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from include.ratchet.errors import StackError
from include.ratchet.stack.layout import LOGIN, Layout

FINISHED = frozenset({"success", "failed"})
PAGE = 100


class AirflowClient:
    """Speaks to one Airflow; logs in on first use and again when the token has expired."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._login = {"username": username, "password": password}

    @classmethod
    def of(cls, layout: Layout) -> AirflowClient:
        """A client of the embedded stack."""
        return cls(layout.airflow_url, LOGIN, layout.secrets["admin"])

    def __enter__(self) -> AirflowClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call an endpoint below `/api/v2` and return its JSON.

        Raises:
            StackError: Airflow cannot be reached or refuses; the message holds its words.
        """
        for attempt in (1, 2, 3):
            try:
                if "authorization" not in self._http.headers:
                    self._authorise()
                response = self._http.request(method, f"/api/v2{path}", **options)
            except httpx.TransportError as error:
                if attempt == 3:
                    message = f"Airflow at {self._http.base_url} cannot be reached: {error}; see ./ratchet status"
                    raise StackError(message) from error
                time.sleep(2)
                continue
            if response.status_code == httpx.codes.UNAUTHORIZED and attempt < 3:
                del self._http.headers["authorization"]
                continue
            break
        if response.is_error:
            message = f"Airflow refused {method} {path} ({response.status_code}): {response.text[:500]}"
            raise StackError(message)
        return response.json() if response.content else None

    def _authorise(self) -> None:
        response = self._http.post("/auth/token", json=self._login)
        if response.is_error:
            message = f"Airflow refused the login ({response.status_code}): {response.text[:200]}"
            raise StackError(message)
        self._http.headers["authorization"] = f"Bearer {response.json()['access_token']}"

    def pages(self, path: str, name: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every entry of a list; Airflow gives no more than `[api] maximum_page_limit` at once, whatever is asked."""
        offset = 0
        while True:
            page = self.request("GET", path, params={**params, "limit": PAGE, "offset": offset})
            yield from page[name]
            offset += len(page[name])
            if not page[name] or offset >= page["total_entries"]:
                return

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, **body: Any) -> str:
        """Start a run and return its id."""
        content = {"logical_date": None, "conf": dict(conf or {}), **body}
        run: dict[str, Any] = self.request("POST", f"/dags/{dag_id}/dagRuns", json=content)
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run's record."""
        found: dict[str, Any] = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return found

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return list(self.pages(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances"))

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.request("GET", path, params={"map_index": map_index, "deserialize": False})["value"]

    def wait_for_dag(self, dag_id: str, timeout_s: float = 60) -> None:
        """Wait until a DAG is known and unpaused.

        Raises:
            StackError: it is not there in time, or its file does not import; the message holds Airflow's words.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
            except StackError:
                if time.monotonic() > deadline:
                    errors = self.request("GET", "/importErrors")["import_errors"]
                    words = "\n".join(error["stack_trace"][-800:] for error in errors) or "no import error is known"
                    message = f"DAG {dag_id} did not appear within {timeout_s:g} s: {words}"
                    raise StackError(message) from None
                time.sleep(0.5)
            else:
                return
