"""Airflow's connections as sources and the store ask for them."""

from __future__ import annotations

import os

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from include.ratchet.data.connections import ConnectionInfo, find_settings
from include.ratchet.errors import SourceError
from include.ratchet.settings import Settings


class AirflowConnections:
    """Looks connections up in Airflow: its database, the environment or a secrets backend."""

    def get(self, connection_id: str) -> ConnectionInfo:
        """The connection of that id.

        Raises:
            SourceError: it is not defined.
        """
        try:
            found = BaseHook.get_connection(connection_id)
        except AirflowNotFoundException as error:
            message = f"no connection {connection_id!r}; define it in Airflow: Admin, Connections"
            raise SourceError(message) from error
        return ConnectionInfo(
            kind=found.conn_type or "",
            host=found.host,
            port=found.port,
            login=found.login,
            password=found.password,
            schema=found.schema,
            extra=found.extra_dejson,
        )


def current_settings() -> Settings:
    """Where everything is, for a process of Airflow's: the store as its connection says now.

    Raises:
        StoreError: that connection is not defined, or is none of an object store.
    """
    return find_settings(os.environ, AirflowConnections())
