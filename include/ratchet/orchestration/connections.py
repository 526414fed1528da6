"""Airflow's connections as sources ask for them."""

from __future__ import annotations

from airflow.sdk import BaseHook

from include.ratchet.data.connections import ConnectionInfo


class AirflowConnections:
    """Looks connections up in Airflow: its database, the environment or a secrets backend."""

    def get(self, connection_id: str) -> ConnectionInfo:
        """The connection of that id."""
        found = BaseHook.get_connection(connection_id)
        return ConnectionInfo(
            kind=found.conn_type or "",
            host=found.host,
            port=found.port,
            login=found.login,
            password=found.password,
            schema=found.schema,
            extra=found.extra_dejson,
        )
