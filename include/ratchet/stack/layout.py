"""Where the embedded stack keeps its files, ports and secrets, and the environment its processes run in."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from include.ratchet.errors import StackError
from include.ratchet.settings import PROJECT

HOST = "127.0.0.1"
DEFAULT_PORTS = {"airflow": 8080, "mlflow": 5000, "postgres": 5433, "serving": 8090}
MARK = "RATCHET_STACK"
"""Environment variable that every process of a stack carries, so that none can be lost."""
LOGIN = "admin"


@dataclass(frozen=True)
class Layout:
    """The stack's places under one home folder.

    Attributes:
        home: the folder; everything the stack writes is below it.
        ports: port by server.
        secrets: generated once; kept in a file that only the owner can read.
    """

    home: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def airflow_url(self) -> str:
        """Base URL of Airflow's UI and API."""
        return f"http://{HOST}:{self.ports['airflow']}"

    @property
    def mlflow_url(self) -> str:
        """Base URL of MLflow's UI, tracking and registry."""
        return f"http://{HOST}:{self.ports['mlflow']}"

    @property
    def serving_url(self) -> str:
        """Base URL of the prediction service."""
        return f"http://{HOST}:{self.ports['serving']}"

    def database_url(self, database: str) -> str:
        """SQLAlchemy URL of one database of the embedded PostgreSQL."""
        password = self.secrets["postgres"]
        return f"postgresql+psycopg2://postgres:{password}@{HOST}:{self.ports['postgres']}/{database}"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What every process of the stack finds in its environment."""
        airflow_home = self.home / "airflow"
        return {
            **base,
            MARK: str(self.home),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "GIT_PYTHON_REFRESH": "quiet",
            "RATCHET_HOME": str(self.home),
            "RATCHET_DATABASE_URL": self.database_url("ratchet"),
            "RATCHET_AIRFLOW_URL": self.airflow_url,
            "RATCHET_SERVING_HOST": HOST,
            "RATCHET_SERVING_PORT": str(self.ports["serving"]),
            "RATCHET_SERVING_URL": self.serving_url,
            "RATCHET_SERVING_LOG": str(self.home / "serving"),
            # Whoever tries things out on one machine wants to see their records soon.
            "RATCHET_SERVING_SHIP_S": base.get("RATCHET_SERVING_SHIP_S", "5"),
            "RATCHET_MASK_SECRET": self.secrets["mask"],
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            # Not on the command line, where other users could read the password.
            "MLFLOW_BACKEND_STORE_URI": self.database_url("mlflow"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Its job runners take 2 GB and serve features that Ratchet does not use.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "AIRFLOW_HOME": str(airflow_home),
            **{f"AIRFLOW__{key.upper()}": value for key, value in self._airflow_options(airflow_home).items()},
        }

    def _airflow_options(self, airflow_home: Path) -> dict[str, str]:
        workers = max(2, min(4, os.cpu_count() or 2))
        return {
            "core__dags_folder": str(PROJECT / "dags"),
            "core__plugins_folder": str(PROJECT / "plugins"),
            "core__load_examples": "False",
            "core__executor": "LocalExecutor",
            # LocalExecutor forks all its workers at once; more than the cores would only cost memory.
            "core__parallelism": str(workers),
            "core__max_active_tasks_per_dag": str(workers),
            "core__fernet_key": self.secrets["fernet"],
            "core__simple_auth_manager_users": f"{LOGIN}:admin",
            "core__simple_auth_manager_passwords_file": str(self.home / "passwords.json"),
            "core__execution_api_server_url": f"{self.airflow_url}/execution/",
            "core__dag_ignore_file_syntax": "glob",
            "database__sql_alchemy_conn": self.database_url("airflow"),
            "database__load_default_connections": "False",
            "api__host": HOST,
            "api__port": str(self.ports["airflow"]),
            "api__base_url": self.airflow_url,
            "api__secret_key": self.secrets["api"],
            "api__workers": "1",
            "api_auth__jwt_secret": self.secrets["jwt"],
            "scheduler__task_instance_heartbeat_timeout": "60",
            "scheduler__task_instance_heartbeat_timeout_detection_interval": "5",
            # What a scheduler that died had started is taken over when its heartbeat is 30 s old, not after 5 minutes.
            "scheduler__orphaned_tasks_check_interval": "10",
            "scheduler__scheduler_idle_sleep_time": "0.2",
            "dag_processor__refresh_interval": "15",
            # Parsing again and again takes a good part of a core; a new model is there within half a minute.
            "dag_processor__min_file_process_interval": "30",
            "dag_processor__parsing_processes": "1",
            "usage_data_collection__enabled": "False",
        }


def open_layout(home: Path, wanted: Mapping[str, int] | None = None) -> Layout:
    """The stack's layout, made on first use and the same ever after.

    Args:
        home: the stack's folder.
        wanted: ports to use from now on, by server; the others keep what they had, or get a free one.

    Raises:
        StackError: a port that was asked for is taken.
    """
    home.mkdir(parents=True, exist_ok=True)
    stored = _read(home / "secrets.json")
    # A stack of an earlier version may lack some.
    made = {name: secrets.token_urlsafe(24) for name in ("postgres", "admin", "jwt", "api", "mask")}
    made["fernet"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if made.keys() - stored.keys():
        stored = made | stored
        _write_private(home / "secrets.json", stored)
    _write_private(home / "passwords.json", {LOGIN: stored["admin"]})
    ports = _choose_ports(_read(home / "ports.json"), wanted or {})
    (home / "ports.json").write_text(json.dumps(ports, indent=2))
    return Layout(home, ports, stored)


def read_layout(home: Path) -> Layout:
    """The layout of a stack that was started before, with its ports as they are.

    Raises:
        StackError: no stack was ever started here.
    """
    stored, ports = _read(home / "secrets.json"), _read(home / "ports.json")
    if not stored or not ports:
        message = f"no stack in {home}; start one with ./ratchet up"
        raise StackError(message)
    return Layout(home, ports, stored)


def _choose_ports(stored: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for name, default in DEFAULT_PORTS.items():
        if name in wanted:
            port = wanted[name]
            if not _is_free(port):
                message = (
                    f"port {port}, asked for {name}, is taken{_holder(port)}; choose another with "
                    f"--{name}-port, or leave it out and a free one is found"
                )
                raise StackError(message)
        else:
            port = stored.get(name, default)
            port = port if _is_free(port) else _free_port(set(chosen.values()))
        chosen[name] = port
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write_private(path: Path, content: Mapping[str, str]) -> None:
    """Write a file that has never been readable by others, not even for an instant."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content))
