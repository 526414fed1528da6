"""Pointers to snapshots, against the form that DVC documents and the MD5 that `md5sum` gives."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
import yaml

from include.ratchet.data.snapshots import build_snapshot
from include.ratchet.errors import ExportError, NotReproducibleError
from include.ratchet.exports.dvc import write_pointer
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from tests.include.ratchet.exports.versions import make_version

KEY = ModelKey("orders")
AS_OF = datetime(2024, 1, 9, tzinfo=UTC)
OUT = {
    "type": "object", "required": ["path", "md5", "size", "hash"], "additionalProperties": False,
    "properties": {
        "path": {"type": "string"}, "md5": {"pattern": "^[0-9a-f]{32}$"}, "size": {"type": "integer"},
        "hash": {"const": "md5"},
    },
}  # fmt: skip
DOCUMENTED = {
    "type": "object", "required": ["outs", "deps", "frozen"], "additionalProperties": False,
    "properties": {
        "outs": {"type": "array", "items": OUT, "minItems": 1}, "deps": {"type": "array", "items": OUT, "maxItems": 1},
        "frozen": {"const": True}, "desc": {"type": "string"}, "meta": {"type": "object"}, "md5": {"type": "string"},
    },
}  # fmt: skip
"""What of https://dvc.org/doc/user-guide/project-structure/dvc-files a file of `dvc import-url` has."""


@pytest.fixture
def snapshot(tmp_path):
    settings = read_settings({"RATCHET_HOME": str(tmp_path)})
    rows = pa.table({"order_id": ["a", "b"], "amount": [1.0, None]})
    return build_snapshot(
        KEY, as_of=AS_OF, window_start=AS_OF, query="", versions={"orders": 3}, compute=lambda: rows, settings=settings
    )


def test_the_file_is_what_dvc_documents(tmp_path, snapshot):
    pointer = write_pointer(make_version(KEY, snapshot.id), snapshot, tmp_path / "new/data")
    assert pointer.path == tmp_path / "new/data/orders-3.parquet.dvc"
    document = yaml.safe_load(pointer.path.read_text())
    jsonschema.validate(document, DOCUMENTED)
    data = Path(document["deps"][0]["path"])
    told = subprocess.run(["md5sum", data], check=True, capture_output=True, text=True).stdout.split()[0]
    assert document["outs"] == [{"path": "orders-3.parquet", "md5": told, "size": data.stat().st_size, "hash": "md5"}]
    assert document["meta"]["ratchet"]["snapshot"] == snapshot.id
    assert document["meta"]["ratchet"]["sources"] == {"orders": 3}


def test_of_a_bucket_it_names_the_object(tmp_path, snapshot, monkeypatch):
    content = snapshot.read_bytes()
    monkeypatch.setattr("include.ratchet.data.snapshots._blobs_at", lambda *_: {"data.parquet": content})
    there = replace(snapshot, location="s3://lake/store/snapshots/orders/x")
    document = yaml.safe_load(write_pointer(make_version(KEY, snapshot.id), there, tmp_path / "to").path.read_text())
    assert document["deps"][0]["path"] == "s3://lake/store/snapshots/orders/x/data.parquet"


def test_again_it_is_the_same_and_what_dvc_wrote_since_stays(tmp_path, snapshot):
    version = make_version(KEY, snapshot.id)
    path = write_pointer(version, snapshot, tmp_path / "to").path
    before = path.read_bytes()
    assert write_pointer(version, snapshot, tmp_path / "to").path.read_bytes() == before
    path.write_text(path.read_text() + "md5: 84d36aea36bb57f1d1ea251010cda563\n")
    updated = path.read_bytes()
    write_pointer(version, snapshot, tmp_path / "to")
    assert path.read_bytes() == updated
    path.write_text("outs: []\n")
    with pytest.raises(ExportError, match="other content"):
        write_pointer(version, snapshot, tmp_path / "to")


def test_of_a_snapshot_that_is_gone_or_changed_nothing_is_written(tmp_path, snapshot):
    data = Path(snapshot.location) / "data.parquet"
    with pytest.raises(NotReproducibleError, match="hashes to"):
        write_pointer(make_version(KEY, snapshot.id), replace(snapshot, content_hash="0" * 64), tmp_path / "to")
    data.unlink()
    with pytest.raises(NotReproducibleError, match="gone"):
        write_pointer(make_version(KEY, snapshot.id), snapshot, tmp_path / "to")
    assert not (tmp_path / "to").exists()
