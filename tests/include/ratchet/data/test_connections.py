from __future__ import annotations

import json

import pytest

from include.ratchet.data.connections import (
    ConnectionInfo,
    EnvironmentConnections,
    MappedConnections,
    find_settings,
    parse_connection,
)
from include.ratchet.errors import SourceError, StoreError

WHOLE = ConnectionInfo("postgres", "db.example", 5432, "ann", "s3cr&t", "shop", {"sslmode": "require"})


@pytest.mark.parametrize(
    "text",
    [
        "postgres://ann:s3cr%26t@db.example:5432/shop?sslmode=require",
        "postgres://ann:s3cr%26t@db.example:5432/shop?__extra__=%7B%22sslmode%22%3A+%22require%22%7D",
        '{"conn_type": "postgres", "host": "db.example", "port": 5432, "login": "ann", "password": "s3cr&t", '
        '"schema": "shop", "extra": {"sslmode": "require"}}',
        '{"conn_type": "postgres", "host": "db.example", "port": "5432", "login": "ann", "password": "s3cr&t", '
        '"schema": "shop", "extra": "{\\"sslmode\\": \\"require\\"}"}',
    ],
    ids=["uri", "uri-extra", "json", "json-text"],
)
def test_both_of_airflows_spellings_are_read(text: str) -> None:
    assert EnvironmentConnections({"AIRFLOW_CONN_SHOP": text}).get("shop") == WHOLE


def test_an_object_store_needs_no_host() -> None:
    info = parse_connection("aws://key:secret@/?region_name=eu-west-1&endpoint_url=http%3A%2F%2Fminio%3A9000", "X")
    assert info.storage_options() == {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://minio:9000",
    }


def test_the_address_is_sqlalchemys() -> None:
    url = WHOLE.sqlalchemy_url()
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg2://ann:s3cr%26t@db.example:5432/shop?sslmode=require"
    )
    socket = ConnectionInfo("postgres", host="/run/pg", login="ann").sqlalchemy_url()
    assert (socket.host, socket.query["host"]) == (None, "/run/pg")


@pytest.mark.parametrize("text", ["", "no uri", '{"host": "x"}', "{broken", "postgres://host:port/"])
def test_what_cannot_be_read_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(SourceError, match="AIRFLOW_CONN_SHOP: cannot be read; expected a URI") as caught:
        EnvironmentConnections({"AIRFLOW_CONN_SHOP": text}).get("shop")
    assert not text or text not in str(caught.value)


def test_an_unknown_connection_says_how_to_define_it() -> None:
    with pytest.raises(SourceError, match="no connection 'shop'; set AIRFLOW_CONN_SHOP"):
        EnvironmentConnections({}).get("shop")
    with pytest.raises(SourceError, match="no connection 'shop'; expected one of: other"):
        MappedConnections({"other": WHOLE}).get("shop")


def test_a_secret_is_not_shown() -> None:
    assert "s3cr" not in repr(WHOLE)
    assert "s3cr" not in repr(EnvironmentConnections({"AIRFLOW_CONN_SHOP": "postgres://a:s3cr@b/c"}))


NAMED = {
    "RATCHET_STORE": "s3://bucket/store",
    "RATCHET_STORE_CONNECTION": "shelf",
    "AIRFLOW_CONN_SHELF": json.dumps({
        "conn_type": "aws", "login": "key", "password": "s3cr",
        "extra": {"endpoint_url": "http://store:8333", "region_name": "eu-west-3"},
    }),
}  # fmt: skip


def test_store_has_the_keys_of_its_connection_and_the_rest_of_the_environment() -> None:
    around = {"AWS_ACCESS_KEY_ID": "other", "AWS_SESSION_TOKEN": "others", "AWS_CA_BUNDLE": "/ca.pem"}
    settings = find_settings({**around, **NAMED})
    assert settings.storage_options == {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cr",
        "AWS_ENDPOINT_URL": "http://store:8333",
        "AWS_REGION": "eu-west-3",
        "AWS_CA_BUNDLE": "/ca.pem",
    }
    assert "s3cr" not in repr(settings)


def test_connection_without_keys_leaves_those_of_the_environment() -> None:
    around = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "s3cr", "AWS_SESSION_TOKEN": "token"}
    found = find_settings({**around, **NAMED, "AIRFLOW_CONN_SHELF": "aws://?region_name=eu-west-3"}).storage_options
    assert found == {**around, "AWS_REGION": "eu-west-3"}


def test_store_without_a_connection_has_what_the_environment_says() -> None:
    around = {"RATCHET_STORE": "s3://bucket", "AWS_REGION": "eu-west-3"}
    assert find_settings(around, MappedConnections()).storage_options == {"AWS_REGION": "eu-west-3"}


def test_somebody_else_may_know_the_connection() -> None:
    known = MappedConnections({"shelf": ConnectionInfo("aws", login="another", password="s3cr")})
    assert find_settings(NAMED, known).storage_options["AWS_ACCESS_KEY_ID"] == "another"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RATCHET_STORE_CONNECTION": "gone"}, "RATCHET_STORE_CONNECTION: no connection 'gone'; set AIRFLOW_CONN_GONE"),
        ({"AIRFLOW_CONN_SHELF": "postgres://a:s3cr@b/c"}, "connection 'shelf' is of type 'postgres'; expected aws"),
    ],
    ids=["gone", "other"],
)
def test_connection_that_is_none_of_a_store_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        find_settings({**NAMED, **changes})
    assert "s3cr" not in str(caught.value)
