"""An object store as boto3 and delta-rs are told of it, how long both bear with it, and what it refuses in our words.

`Settings.storage_options` are written in delta-rs' words, whoever gave them: the environment or an Airflow connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from include.ratchet.errors import StoreError

PATIENCE_S = 30.0
"""How long a store may be away, or ask for a slower pace, before a caller hears of it."""
REGION = "us-east-1"
_PAUSE_S = 1.0
_DELTA = {
    "aws_conditional_put": "etag",
    "connect_timeout": "5s",
    "max_retries": "1000",
    "retry_timeout": f"{PATIENCE_S:.0f}s",
    "backoff_config.max_backoff": f"{_PAUSE_S:.0f}s",
}
_BROKEN = {500, 502, 503, 504}
_SLOW_DOWN = {"SlowDown", "Throttling", "RequestTimeout", "RequestLimitExceeded", "ConditionalRequestConflict"}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|↳")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NOBODY = "Unable to locate credentials"
_KEYS = "keys that may read and write there; see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_EXPECTED = {
    **dict.fromkeys(["SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied", "403", _NOBODY], _KEYS),
    "NoSuchBucket": "that bucket; ./ratchet prepare makes the one of RATCHET_STORE",
    "NotImplemented": "a store that takes conditional writes; see docs/object-storage.md",
    "PermanentRedirect": "the bucket's own region; see AWS_REGION",
    "URL scheme is not allowed": "https, or AWS_ALLOW_HTTP=true",
    "": "a store that answers there; see AWS_ENDPOINT_URL, and whether it runs",
}
_Result = TypeVar("_Result")


def complete_options(options: Mapping[str, str]) -> dict[str, str]:
    """The same with what a client would otherwise ask Amazon's metadata service for, or refuse.

    Ceph, SeaweedFS and their like take any region; a bucket at Amazon's has one, and should be given it.
    """
    region = options.get("AWS_REGION") or options.get("AWS_DEFAULT_REGION") or REGION
    is_plain = options.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {**({"AWS_ALLOW_HTTP": "true"} if is_plain else {}), **options, "AWS_REGION": region}


def delta_options(options: Mapping[str, str]) -> dict[str, str]:
    """Options of a Delta table: complete, and with our patience."""
    return {**_DELTA, **complete_options(options)}


def open_client(options: Mapping[str, str]) -> Any:
    """A boto3 S3 client from delta-rs' words; keys that are not given, boto3 looks up as it always does."""
    import boto3
    from botocore.config import Config

    found = complete_options(options)
    return boto3.session.Session().client(
        "s3",
        aws_access_key_id=found.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=found.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=found.get("AWS_SESSION_TOKEN"),
        region_name=found["AWS_REGION"],
        endpoint_url=found.get("AWS_ENDPOINT_URL"),
        config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 3}),
    )


def insist(attempt: Callable[[], _Result], address: str, endpoint: str) -> _Result:
    """Call until the store answers: boto3 tries again for a few seconds, and not once a body has begun to arrive.

    Args:
        attempt: may be called again after it failed half-way.
        address: what is read or written, for the error.
        endpoint: where, likewise.

    Raises:
        StoreError: the store refused, or was away for longer than `PATIENCE_S`.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt()
        except (BotoCoreError, ClientError) as error:
            if not _is_passing(error) or time.monotonic() > deadline:
                raise explain_failure(error, address, endpoint) from error
        time.sleep(_PAUSE_S)


def explain_failure(error: Exception, address: str, endpoint: str = "") -> StoreError:
    """What boto3 or delta-rs raised, as what is wrong, where, what was found, expected and can be done."""
    found = _words_of(error)
    expected = next(words for sign, words in _EXPECTED.items() if found.startswith(sign))
    at = f" at {endpoint}" if endpoint else ""
    message = (
        f"{address} cannot be read or written{at}: found {found!r}; expected {expected}. Where Airflow holds the keys, "
        "they are of the connection that RATCHET_STORE_CONNECTION names"
    )
    return StoreError(message)


def _words_of(error: Exception) -> str:
    """The store's own code, or the innermost cause."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response['Error'].get('Code', '')} {response['Error'].get('Message') or ''}".strip()
    if "169.254.169.254" in str(error):  # delta-rs asks Amazon's metadata service when it was given no keys
        return _NOBODY
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    code = _CODE.search(str(error))
    return code[1] if code else lines[-1]


def _is_passing(error: Exception) -> bool:
    """Whether the same call may do better in a moment: there was no whole answer, or the store asked for patience."""
    from botocore.exceptions import ConnectionError as NoConnectionError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return isinstance(error, HTTPClientError | IncompleteReadError | NoConnectionError)
    is_broken = response["ResponseMetadata"]["HTTPStatusCode"] in _BROKEN
    return is_broken or response["Error"].get("Code") in _SLOW_DOWN
