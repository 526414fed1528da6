"""What a service is set to, and what cannot be."""

from __future__ import annotations

import pytest

from include.ratchet.errors import ServingError
from include.ratchet.serving.config import read_config


@pytest.mark.parametrize(
    ("host", "auth"),
    [("127.0.0.1", "off"), ("::1", "off"), ("localhost", "off"), ("0.0.0.0", "on"), ("serving.internal", "on")],  # noqa: S104
)
def test_keys_are_asked_for_wherever_others_can_reach(host, auth):
    found = read_config({"RATCHET_SERVING_HOST": host})
    assert (found.host, found.auth) == (host, auth)


def test_keys_cannot_be_waived_on_a_name():
    with pytest.raises(ServingError, match="RATCHET_SERVING_AUTH: found 'off' for address serving.internal"):
        read_config({"RATCHET_SERVING_HOST": "serving.internal", "RATCHET_SERVING_AUTH": "off"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOST", "", "an address or a host name"),
        ("HOST", "http://a", "an address or a host name"),
        ("PORT", "many", "a port's number"),
        ("PORT", "65536", "a port's number"),
        ("RATE", "many", "a number, 0 for no limit"),
        ("RATE", "-1", "a number, 0 for no limit"),
        ("POLL_S", "0", "a number above 0"),
        ("MEMORY_MB", "inf", "a number above 0"),
        ("MAX_BODY_KB", "nan", "a number above 0"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_was_expected(name, value, expected):
    with pytest.raises(ServingError, match=f"RATCHET_SERVING_{name}: found {value!r}; expected {expected}"):
        read_config({"RATCHET_SERVING_AUTH": "on", f"RATCHET_SERVING_{name}": value})


def test_numbers_are_read():
    found = read_config({"RATCHET_SERVING_RATE": "0", "RATCHET_SERVING_PORT": "81", "RATCHET_SERVING_MAX_BODY_KB": "8"})
    assert (found.rate, found.port, found.max_body_kb) == (0.0, 81, 8)
