"""What the prediction service says of itself: whether it answers, and how much it refused under load."""

from __future__ import annotations

import logging

import httpx

_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)
UP, SHED, REQUESTS = "service_up", "service_shed_total", "service_requests_total"
_NAMES = {"ratchet_shed_total": SHED, "ratchet_requests_total": REQUESTS}


def read_counters(url: str, key: str = "") -> dict[str, float]:
    """Its counts since it started, over all models.

    Only that it is down if it does not answer, and nothing if it refuses the key.

    Args:
        url: of the service, such as `http://127.0.0.1:8090`.
        key: an API key of scope `metrics`, where the service asks for one.
    """
    from prometheus_client.parser import text_string_to_metric_families

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url}/metrics", headers=headers, timeout=_TIMEOUT_S)
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            _log.warning("%s/metrics: %s; give RATCHET_SERVING_KEY a key of scope `metrics`", url, answer.text[:200])
            return {}
        answer.raise_for_status()
    except httpx.HTTPError:
        return {UP: 0.0}
    found = {UP: 1.0, SHED: 0.0, REQUESTS: 0.0}
    for family in text_string_to_metric_families(answer.text):
        for one in family.samples:
            if one.name in _NAMES:
                found[_NAMES[one.name]] += one.value
    return found


def shed_share(now: dict[str, float], before: dict[str, float]) -> float | None:
    """Share of requests between two readings that were refused as too much was waiting; None where none were made.

    Counters of a service that was started in between began at 0.
    """
    if SHED not in now:
        return None
    changes = {name: now[name] - before.get(name, 0.0) for name in (SHED, REQUESTS)}
    if min(changes.values()) < 0:
        changes = {name: now[name] for name in (SHED, REQUESTS)}
    total = changes[REQUESTS]
    return changes[SHED] / total if total > 0 else None
