"""What Ratchet adds to Airflow's web server: validation pages and model cards under `/ratchet`."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin


class Pages:
    """Loads the app when the first page is asked for: every process of Airflow loads plugins, one of them serves."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request over."""
        from include.ratchet.orchestration.pages import app

        await app(scope, receive, send)


class RatchetPlugin(AirflowPlugin):  # type: ignore[misc]  # airflow is not typed
    """Found by Airflow in the plugins folder."""

    name = "ratchet"
    fastapi_apps: ClassVar[list[Any]] = [{"app": Pages(), "url_prefix": "/ratchet", "name": "Ratchet"}]
