"""S3 objects read through boto3 as a source."""

from __future__ import annotations

import fnmatch
from datetime import datetime
from typing import Any

from include.ratchet.data.connections import Connections
from include.ratchet.data.sources.batch import (
    SourceBatch,
    concat_batches,
    explain_absence,
    fill_placeholders,
    has_placeholders,
)
from include.ratchet.data.sources.slices import slice_batch
from include.ratchet.data.sources.tabular import guess_format, parse_bytes
from include.ratchet.data.store import open_client
from include.ratchet.errors import SourceError
from include.ratchet.spec import Model, Partition


class ObjectSource:
    """Reads `bucket/key`, with `*` in the key for several objects."""

    def __init__(self, model: Model, table: str, connections: Connections) -> None:
        spec = model.spec.table(table)
        self._table = table
        self._spec = spec
        self._address = str(spec.source.s3).removeprefix("s3://")
        self._options = connections.get(spec.source.connection).storage_options() if spec.source.connection else {}

    def read(self, partition: Partition, as_of: datetime) -> SourceBatch:
        """The rows of the partition's objects, in the order of their keys."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = fill_placeholders(self._address, partition).partition("/")
        client = open_client(self._options)
        try:
            keys = _list_keys(client, bucket, key) if "*" in key else [key]
            contents = [(found, _get(client, bucket, found)) for found in keys]
        except (BotoCoreError, ClientError) as error:
            message = f"{self._table}: s3://{bucket}/{key} cannot be read: {error}"
            raise SourceError(message) from error
        finally:
            client.close()
        batches = [
            parse_bytes(content, f"s3://{bucket}/{found}", guess_format(found, self._spec.source.format))
            for found, content in contents
            if content is not None
        ]
        batch = concat_batches(batches) if batches else None
        if batch is not None and not has_placeholders(self._address):
            batch = slice_batch(batch, self._spec.event_time, partition)
        if batch is None or batch.rows == 0:
            raise explain_absence(self._table, partition, f"s3://{bucket}/{key}")
        return batch


def _list_keys(client: Any, bucket: str, pattern: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=pattern.split("*", 1)[0])
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return sorted(key for key in keys if fnmatch.fnmatchcase(key, pattern))


def _get(client: Any, bucket: str, key: str) -> bytes | None:
    try:
        return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None
