"""What Ratchet adds to Airflow's web server: the Models pages, in its navigation and under `/ratchet`."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

BASE = f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}/ratchet"


class Pages:
    """Loads the app when the first page is asked for: every process of Airflow loads plugins, one of them serves."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request over."""
        from include.ratchet.orchestration.pages.app import app
        from include.ratchet.orchestration.pages.caller import PARENT

        await app({**scope, PARENT: scope.get("app")}, receive, send)


class RatchetPlugin(AirflowPlugin):  # type: ignore[misc]  # airflow is not typed
    """Found by Airflow in the plugins folder."""

    name = "ratchet"
    fastapi_apps: ClassVar[list[Any]] = [{"app": Pages(), "url_prefix": "/ratchet", "name": "Ratchet"}]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Models", "href": f"{BASE}/models", "destination": "nav", "url_route": "models",
            "nav_top_level": True, "icon": f"{BASE}/static/icon.svg", "icon_dark_mode": f"{BASE}/static/icon-dark.svg",
        }
    ]  # fmt: skip
