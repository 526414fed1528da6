"""The secrets of a stack on Docker Compose: made once, kept in a file that only its owner can read."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

_PASSWORDS = (
    "POSTGRES_PASSWORD", "AIRFLOW_DB_PASSWORD", "MLFLOW_DB_PASSWORD", "RATCHET_DB_PASSWORD", "SERVING_DB_PASSWORD",
    "REDIS_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "AIRFLOW_SECRET_KEY", "AIRFLOW_JWT_SECRET",
    "AIRFLOW_ADMIN_PASSWORD", "GRAFANA_ADMIN_PASSWORD", "RATCHET_MASK_SECRET",
)  # fmt: skip


def write_secrets(path: Path) -> list[str]:
    """Add what `docker-compose.yaml` asks for and the file does not have; the rest of it stays as it is.

    Returns:
        Names of what was added.
    """
    content = path.read_text() if path.exists() else ""
    present = {line.split("=", 1)[0].strip() for line in content.splitlines() if "=" in line}
    # In hexadecimal digits, as they stand in URLs too; 64 bytes are what signing tokens asks for.
    made = {name: secrets.token_hex(32) for name in _PASSWORDS}
    made["AIRFLOW_FERNET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    made["RATCHET_METRICS_KEY"] = f"rk_{secrets.token_hex(32)}"
    added = [name for name in made if name not in present]
    separator = "" if not content or content.endswith("\n") else "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as file:
        os.fchmod(descriptor, 0o600)
        file.write(separator + "".join(f"{name}={made[name]}\n" for name in added))
    return added
