"""Pages read from a store whose keys Airflow's own database holds."""

from __future__ import annotations

import json
import logging

import pytest

from include.ratchet.data.blobs import BucketBlobs
from include.ratchet.data.store import open_client

PATH = "orders/orders/2013-01-01/run/index.html"


@pytest.fixture
def endpoint():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def define():
    """Writes the connection `shelf` into Airflow's database."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    def write(**fields):
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == "shelf").delete()
            if fields:
                session.add(Connection(conn_id="shelf", **fields))

    yield write
    write()


def test_page_is_read_by_the_connection_as_it_is_now(server, login, endpoint, define, monkeypatch):
    options = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": endpoint}
    client = open_client(options)
    client.create_bucket(Bucket="shelf")
    client.close()
    BucketBlobs("s3://shelf/store", options).put(f"validation/{PATH}", b"<h1>from the bucket</h1>")
    # As `airflow api-server` does.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("RATCHET_STORE", "s3://shelf/store")
    monkeypatch.setenv("RATCHET_STORE_CONNECTION", "shelf")
    for secret in ("secret", "another"):
        define(conn_type="aws", login="key", password=secret, extra=json.dumps({"endpoint_url": endpoint}))
        answer = server.get(f"/ratchet/reports/{PATH}", headers=login)
        assert (answer.status_code, answer.text) == (200, "<h1>from the bucket</h1>")
    define(conn_type="postgres", login="key")
    assert server.get(f"/ratchet/reports/{PATH}", headers=login).status_code == 500
