"""What the embedded stack consists of, in the order in which it starts."""

from __future__ import annotations

import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.ratchet.stack import postgres
from include.ratchet.stack.layout import HOST, Layout


@dataclass(frozen=True)
class Component:
    """One supervised process.

    Attributes:
        name: as `status` shows it and its log file is called.
        command: the command line.
        is_healthy: whether it answers, asked from outside.
        stop_signal: what asks it to end in order.
        user: the system user it runs as; None: this one.
    """

    name: str
    command: tuple[str, ...]
    is_healthy: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None


def database(layout: Layout) -> Component:
    """PostgreSQL, before everything else."""
    return Component(
        "postgres",
        tuple(postgres.command(layout)),
        lambda: True,  # asked by `create_databases`, which waits for it
        signal.SIGINT,  # PostgreSQL's word for: end the sessions, then stop
        postgres.system_user(),
    )


def mlflow(layout: Layout) -> Component:
    """MLflow's tracking server and registry."""
    return Component(
        "mlflow",
        (
            *_module("mlflow", "server"),
            f"--artifacts-destination={layout.home / 'mlflow'}",
            f"--host={HOST}",
            f"--port={layout.ports['mlflow']}",
            "--workers=1",
        ),
        lambda: _answers(f"{layout.mlflow_url}/health"),
    )


def airflow(layout: Layout) -> tuple[Component, ...]:
    """Airflow's four processes."""
    health = f"{layout.airflow_url}/api/v2/monitor/health"
    return tuple(
        Component(name, _module("airflow", *words), lambda part=part: reports_healthy(health, part))  # type: ignore[misc]
        for name, words, part in (
            ("api-server", ("api-server",), "metadatabase"),
            # Logs lie on this machine; the servers that hand them out elsewhere would listen on every address.
            ("scheduler", ("scheduler", "--skip-serve-logs"), "scheduler"),
            ("dag-processor", ("dag-processor",), "dag_processor"),
            ("triggerer", ("triggerer", "--skip-serve-logs"), "triggerer"),
        )
    )


def serving(layout: Layout) -> Component:
    """The prediction service."""
    return Component(
        "serving", _module("include.ratchet.serving"), lambda: _answers(f"{layout.serving_url}/v2/health/ready")
    )


def migrations() -> tuple[tuple[str, ...], ...]:
    """Commands that bring the databases' schemas up to date, once per start."""
    return (_module("airflow", "db", "migrate"), _module("include.ratchet.registry.migrate"))


def _module(name: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *words)


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - the stack's own address
            content: bytes = response.read()
            return content
    except (urllib.error.URLError, OSError):
        return None


def _answers(url: str) -> bool:
    return _get(url) is not None


def reports_healthy(url: str, part: str) -> bool:
    """Whether Airflow's health page, at `url`, calls a part of it healthy."""
    import json

    content = _get(url)
    return content is not None and json.loads(content).get(part, {}).get("status") == "healthy"


def log_path(layout: Layout, name: str) -> Path:
    """Where a component's output goes."""
    return layout.home / "logs" / f"{name}.log"
