"""Secrets of the Compose file: all that it asks for, made once, for their owner's eyes."""

from __future__ import annotations

import re
import stat

from include.ratchet.settings import PROJECT
from include.ratchet.stack.secrets import write_secrets


def test_file_has_all_that_compose_asks_for_and_is_private(tmp_path):
    path = tmp_path / ".env"
    added = write_secrets(path)
    asked = set(re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yaml").read_text()))
    assert asked == set(added)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert len(set(values.values())) == len(values) == len(added)
    assert min(map(len, values.values())) >= 44


def test_second_call_changes_nothing_and_own_lines_stay(tmp_path):
    path = tmp_path / ".env"
    path.write_text("WORKER_MEMORY=4g\nREDIS_PASSWORD=mine")
    path.chmod(0o644)
    added = write_secrets(path)
    assert "REDIS_PASSWORD" not in added
    assert path.read_text().startswith("WORKER_MEMORY=4g\nREDIS_PASSWORD=mine\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    assert write_secrets(path) == []
    assert path.read_text() == before


def test_nothing_in_the_compose_file_has_a_default_password():
    text = (PROJECT / "docker-compose.yaml").read_text()
    assert re.findall(r"\$\{\w*(?:PASSWORD|SECRET|KEY|TOKEN)\w*:-[^}]+\}", text) == []
