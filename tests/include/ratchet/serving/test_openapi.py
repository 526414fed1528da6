"""The service does what its OpenAPI document says, and nothing that it does not say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.ratchet.serving.keys import add_key
from tests.include.ratchet.serving.conftest import AS_OF, MODEL

pytestmark = pytest.mark.filterwarnings("default")
CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_every_operation_holds_to_the_document(serve, divided, tmp_path):
    key = add_key("fuzzer", ["admin"], AS_OF, divided)
    served = serve(auth="on", poll_s=1.0)
    # Once it is loaded, its examples stand in the document.
    assert served.client.get(f"/v1/models/{MODEL}", headers={"X-API-Key": key}).status_code == 200
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", "--no-color"]
    done = subprocess.run(
        [*command, f"{served.url}/openapi.json"], cwd=tmp_path, env={**os.environ, "RATCHET_KEY": key},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
