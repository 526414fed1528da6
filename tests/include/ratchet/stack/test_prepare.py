"""What stands before the parts of a stack: rights in a real PostgreSQL, and a store that keeps its word."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from include.ratchet.data.blobs import BucketBlobs
from include.ratchet.errors import StackError
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.serving.keys import ensure_key, list_keys
from include.ratchet.settings import read_settings
from include.ratchet.stack.prepare import SERVING_ROLE, check_store, grant_serving, make_bucket
from tests.include.ratchet.data.conftest import object_store  # noqa: F401 - a fixture

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def settings(empty_database, tmp_path):
    upgrade(empty_database)
    yield read_settings({"RATCHET_HOME": str(tmp_path), "RATCHET_DATABASE_URL": empty_database})
    engine_of(empty_database).dispose()


@pytest.fixture
def serving_role(postgres):
    engine = create_engine(postgres.sqlalchemy_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {SERVING_ROLE}"))
        yield SERVING_ROLE
        connection.execute(text(f"DROP ROLE {SERVING_ROLE}"))
    engine.dispose()


def test_without_a_role_of_its_own_nothing_is_granted(settings):
    assert not grant_serving(settings)


@pytest.mark.parametrize(("query", "is_allowed"), [
    ("SELECT count(*) FROM ledger", True),
    ("SELECT count(*) FROM api_keys", True),
    ("DELETE FROM aliases", True),
    ("UPDATE rollouts SET model = model", True),
    ("UPDATE ledger SET actor = 'nobody'", False),
    ("DELETE FROM ledger", False),
    ("DELETE FROM api_keys", False),
    ("UPDATE histories SET model = model", False),
    ("DELETE FROM incidents", False),
    ("CREATE TABLE mine (number int)", False),
])  # fmt: skip
def test_service_may_do_what_orders_need_and_no_more(settings, serving_role, query, is_allowed):
    assert grant_serving(settings)
    assert grant_serving(settings)
    engine = engine_of(settings.database_url)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET ROLE {serving_role}"))
            if is_allowed:
                connection.execute(text(query))
            else:
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.execute(text(query))
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {serving_role}"))


def test_bucket_is_made_once_and_its_store_trusted(settings, object_store):  # noqa: F811
    there = dataclasses.replace(settings, store="s3://prepared/store", storage_options=object_store)
    for _ in range(2):
        make_bucket(there)
        check_store(there)


def test_store_that_tells_two_writers_yes_is_refused(settings, object_store, monkeypatch):  # noqa: F811
    there = dataclasses.replace(settings, store="s3://dishonest/store", storage_options=object_store)
    make_bucket(there)
    together = threading.Barrier(8)

    def put_anyway(self, path, content):
        together.wait()
        self.put(path, content)
        return True

    monkeypatch.setattr(BucketBlobs, "put_new", put_anyway)
    with pytest.raises(StackError, match="8 of 8 writers .* expected one"):
        check_store(there)


def test_key_that_was_chosen_elsewhere_takes_the_place_of_an_older_one(settings):
    ensure_key("metrics", "rk_first", ["metrics"], NOW, settings)
    before = list_keys(settings)
    ensure_key("metrics", "rk_first", ["metrics"], datetime(2026, 4, 1, tzinfo=UTC), settings)
    assert list_keys(settings) == before
    ensure_key("metrics", "rk_second", ["metrics"], datetime(2026, 4, 1, tzinfo=UTC), settings)
    (key,) = list_keys(settings)
    assert (key.name, key.scopes, key.created_at.month) == ("metrics", ("metrics",), 4)
