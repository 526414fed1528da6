"""What a stack of several machines needs before its parts start: schemas, rights, a bucket that can be trusted, users.

Everything here may be done again: what is there stays.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import uuid4

from sqlalchemy import text

from include.ratchet.data.blobs import open_blobs
from include.ratchet.errors import StackError
from include.ratchet.registry.database import engine_of
from include.ratchet.serving.keys import ensure_key
from include.ratchet.settings import Settings
from include.ratchet.stack import components
from include.ratchet.stack.layout import LOGIN

SERVING_ROLE = "ratchet_serving"
METRICS_KEY = "metrics"
_WRITERS = 8
# Orders by the API move hand-overs and aliases and enter that in the ledger; what was entered cannot be changed.
_RIGHTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT INSERT ON ledger, aliases, rollouts TO {role}",
    "GRANT UPDATE ON aliases, rollouts TO {role}",
    "GRANT DELETE ON aliases TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
)


def prepare(settings: Settings, environ: Mapping[str, str], now: datetime, say: Callable[[str], None]) -> None:
    """Bring everything up to date.

    Args:
        settings: of the installation.
        environ: `AIRFLOW_ADMIN_PASSWORD` and `RATCHET_SERVING_KEY` are read from it.
        now: when the key of the metrics is made, if it is.
        say: is told each step.

    Raises:
        StackError: a step failed; the message holds its words.
    """
    for command in components.migrations():
        say(f"schema: {' '.join(command[2:])}")
        _run(command, environ)
    if grant_serving(settings):
        say(f"rights of {SERVING_ROLE}")
    if settings.store.startswith("s3://"):
        make_bucket(settings)
        check_store(settings)
        say(f"store: {settings.store} takes conditional writes")
    if key := environ.get("RATCHET_SERVING_KEY"):
        ensure_key(METRICS_KEY, key, ["metrics"], now, settings)
        say(f"API key {METRICS_KEY!r}")
    if password := environ.get("AIRFLOW_ADMIN_PASSWORD"):
        say(f"user {LOGIN}: {make_admin(password, environ)}")


def grant_serving(settings: Settings) -> bool:
    """Give the prediction service's own role what it needs and no more; False where there is no such role."""
    engine = engine_of(settings.database_url)
    if engine.dialect.name != "postgresql":
        return False
    with engine.begin() as connection:
        asked = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
        if connection.execute(asked, {"role": SERVING_ROLE}).first() is None:
            return False
        for right in _RIGHTS:
            connection.execute(text(right.format(role=SERVING_ROLE)))
    return True


def make_bucket(settings: Settings) -> None:
    """Make the store's bucket, unless it is there."""
    from botocore.exceptions import ClientError

    from include.ratchet.data.store import open_client

    client = open_client(dict(settings.storage_options))
    bucket = settings.store.removeprefix("s3://").partition("/")[0]
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            message = f"store: bucket {bucket!r} cannot be used: {error}; see AWS_ENDPOINT_URL and the keys"
            raise StackError(message) from error
        client.create_bucket(Bucket=bucket)
    finally:
        client.close()


def check_store(settings: Settings) -> None:
    """Let several writers make the same file at once: on a store that tells two of them yes, commits would be lost.

    Raises:
        StackError: the store does not keep its word.
    """
    blobs, path = open_blobs(settings), f"prepared/{uuid4().hex}"
    try:
        with ThreadPoolExecutor(_WRITERS) as pool:
            won = sum(pool.map(lambda number: blobs.put_new(path, str(number).encode()), range(_WRITERS)))
    finally:
        blobs.remove(path)
    if won != 1:
        message = (
            f"store: {won} of {_WRITERS} writers were told that they made the same object of {settings.store}; "
            "expected one. Tables need conditional writes (If-None-Match); take a store that keeps them, see "
            "docs/object-storage.md"
        )
        raise StackError(message)


def make_admin(password: str, environ: Mapping[str, str]) -> str:
    """Make Airflow's first user, unless there is one of that name; returns Airflow's words."""
    words = ("airflow", "users", "create", "--username", LOGIN, "--role", "Admin", "--email", f"{LOGIN}@localhost",
             "--firstname", LOGIN, "--lastname", LOGIN, "--password", password)  # fmt: skip
    said = _run(words, environ)
    return said.strip().splitlines()[-1] if said.strip() else "is there"


def _run(command: tuple[str, ...], environ: Mapping[str, str]) -> str:
    done = subprocess.run(command, check=False, env=dict(environ), capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        words = (done.stdout + done.stderr).strip()[-2000:]
        message = f"{' '.join(command[:5])} failed (exit status {done.returncode}): {words}"
        raise StackError(message)
    return done.stdout
