from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.ratchet.data.connections import ConnectionInfo, MappedConnections
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import make_settings, write_model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return write_model(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """An S3 server that speaks HTTP, in delta-rs' words."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    server.stop()


@pytest.fixture
def bucket(object_store: dict[str, str]) -> str:
    """An empty bucket's name."""
    from include.ratchet.data.store import open_client

    name = f"ratchet-{uuid.uuid4().hex[:12]}"
    client = open_client(object_store)
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def store_connection(object_store: dict[str, str]) -> MappedConnections:
    """The object store as an Airflow connection."""
    info = ConnectionInfo(
        kind="aws",
        login=object_store["AWS_ACCESS_KEY_ID"],
        password=object_store["AWS_SECRET_ACCESS_KEY"],
        extra={"endpoint_url": object_store["AWS_ENDPOINT_URL"], "region_name": object_store["AWS_REGION"]},
    )
    return MappedConnections({"store": info})
