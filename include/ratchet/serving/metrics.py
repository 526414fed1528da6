"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """One service's counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ratchet_requests_total", "Requests by outcome", ["model", "protocol", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "ratchet_request_seconds",
            "From the request's arrival to its answer",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.predictions = Counter(
            "ratchet_predictions_total", "Rows answered", ["model", "version", "route"], registry=self.registry
        )
        self.pooled_rows = Counter(
            "ratchet_pooled_rows_total", "Rows of segments that the pooled model answered", ["model"],
            registry=self.registry,
        )  # fmt: skip
        self.explained = Counter(
            "ratchet_explained_rows_total", "Rows explained to callers who asked, by method, or failed",
            ["model", "method"], registry=self.registry,
        )  # fmt: skip
        self.errors = Counter(
            "ratchet_errors_total", "Requests that could not be answered", ["model", "error"], registry=self.registry
        )
        self.batch_rows = Histogram(
            "ratchet_batch_rows",
            "Rows predicted together",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 256, 1024),
            registry=self.registry,
        )
        self.queue_rows = Gauge("ratchet_queue_rows", "Rows that wait for a prediction", registry=self.registry)
        self.shed = Counter("ratchet_shed_total", "Requests refused as too much was waiting", registry=self.registry)
        self.dropped = Counter(
            "ratchet_shadow_dropped_total", "Shadow rows that were not predicted", ["model"], registry=self.registry
        )
        self.unrecorded = Counter(
            "ratchet_unrecorded_total", "Rows answered on best effort, not recorded", ["model"], registry=self.registry
        )
        self.log_rows = Gauge(
            "ratchet_log_rows", "Records in the local log that are not in their table yet", registry=self.registry
        )
        self.log_age = Gauge("ratchet_log_age_seconds", "Age of the oldest of them", registry=self.registry)
        self.deployed = Gauge(
            "ratchet_deployed", "1 for each version that is loaded", ["model", "version"], registry=self.registry
        )
        self.segments = Gauge(
            "ratchet_segments_loaded", "Segments whose own models are loaded", ["model"], registry=self.registry
        )
        self.memory = Gauge("ratchet_loaded_megabytes", "Memory of loaded models, roughly", registry=self.registry)
        self.watch_failures = Counter(
            "ratchet_watch_failures_total",
            "Looks at routes, versions or histories that failed",
            ["what"],
            registry=self.registry,
        )

    def render(self) -> bytes:
        """All of them, in Prometheus' text format."""
        content: bytes = generate_latest(self.registry)
        return content
