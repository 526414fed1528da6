"""The stack's files, ports and secrets."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from include.ratchet.errors import StackError
from include.ratchet.stack.control import read_status, stop_stack
from include.ratchet.stack.layout import HOST, open_layout, read_layout


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def taken():
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_secrets_are_generated_once_and_only_the_owner_reads_them(tmp_path):
    first = open_layout(tmp_path)
    again = open_layout(tmp_path)
    assert first.secrets == again.secrets
    assert len(set(first.secrets.values())) == 6
    assert all(len(value) > 20 for value in first.secrets.values())
    assert mode(tmp_path / "secrets.json") == mode(tmp_path / "passwords.json") == 0o600
    assert all(secret not in repr(first) for secret in first.secrets.values())
    assert open_layout(tmp_path / "other").secrets != first.secrets


def test_taken_default_gives_way_to_a_free_port_that_is_kept(tmp_path, taken, monkeypatch):
    monkeypatch.setitem(__import__("include.ratchet.stack.layout", fromlist=["x"]).DEFAULT_PORTS, "airflow", taken)
    layout = open_layout(tmp_path)
    assert layout.ports["airflow"] != taken
    assert len(set(layout.ports.values())) == 4
    assert open_layout(tmp_path).ports == layout.ports
    assert read_layout(tmp_path).airflow_url == f"http://127.0.0.1:{layout.ports['airflow']}"


def test_port_that_was_asked_for_and_is_taken_is_named_with_its_holder(tmp_path, taken):
    with pytest.raises(StackError) as caught:
        open_layout(tmp_path, {"mlflow": taken})
    message = str(caught.value)
    assert f"port {taken}, asked for mlflow, is taken" in message
    assert str(os.getpid()) in message
    assert "--mlflow-port" in message


def test_environment_binds_to_the_loopback_and_keeps_passwords_off_command_lines(tmp_path):
    from include.ratchet.stack import components, postgres

    layout = open_layout(tmp_path)
    environ = layout.environment({"PATH": "/bin"})
    assert environ["PATH"] == "/bin"
    assert environ["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert "listen_addresses=127.0.0.1" in " ".join(postgres.command(layout))
    lines = [" ".join(one.command) for one in (components.mlflow(layout), *components.airflow(layout))]
    lines.append(" ".join(postgres.command(layout)))
    for secret in layout.secrets.values():
        assert not any(secret in line for line in lines)


def test_no_stack_is_said(tmp_path):
    with pytest.raises(StackError, match="start one with"):
        read_layout(tmp_path)
    assert read_status(tmp_path).status == "stopped"
    assert stop_stack(tmp_path) is False


def test_stale_file_of_a_dead_supervisor_is_no_stack(tmp_path):
    (tmp_path / "stack.json").write_text('{"pid": 999999999, "status": "healthy", "components": {}}')
    assert read_status(tmp_path).status == "stopped"
