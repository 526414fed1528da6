"""The watching half of a spec: what is normal, what counts as a change, and what is done about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from include.ratchet.spec.base import ColumnName, Spec
from include.ratchet.spec.durations import Duration

Action = Literal["none", "alert", "retrain", "revert"]
SignalKind = Literal[
    "performance", "estimate", "drift", "multivariate", "prediction", "label", "quality", "service", "slice", "fairness"
]


class ReferenceSpec(Spec):
    """What the present is compared with."""

    kind: Literal["training", "trailing"] = "training"
    """training: the champion's training snapshot. trailing: the records before the window."""
    length: Duration = Field(default="56d", validate_default=True)
    """Trailing: how far back."""
    is_seasonal: bool = True
    """Weekdays are compared with the same weekdays (hours with the same hours), where four of each are known."""


class PolicySpec(Spec):
    """What each kind of signal leads to, how soon and how often."""

    performance: Action = "retrain"
    """The metric on labels that have come is worse than on the champion's test rows."""
    estimate: Action = "retrain"
    """The metric that the scores let expect is; it speaks until labels have come."""
    drift: Action = "retrain"
    """Columns that the model leans on have changed."""
    multivariate: Action = "none"
    """Columns have changed together, as a classifier tells a day's rows from the reference's. A second or so a look."""
    prediction: Action = "alert"
    label: Action = "alert"
    quality: Action = "alert"
    service: Action = "alert"
    slice: Action = "alert"
    fairness: Action = "alert"
    streak: int = Field(default=3, ge=1)
    """Looks in a row that must agree before a retraining or a revert. An alert needs one."""
    cooldown: Duration = Field(default="7d", validate_default=True)
    """After a request, the next one waits this long."""
    budget: int = Field(default=2, ge=1)
    """Requests in any 28 days."""
    attempts: int = Field(default=1, ge=1)
    """Retrainings of one lasting cause; when they did not help, people are asked."""

    def action(self, kind: SignalKind) -> Action:
        """What a kind of signal leads to."""
        found: Action = getattr(self, kind)
        return found


class MonitoringSpec(Spec):
    """How the model is watched in production."""

    records: Literal["auto", "requests", "scores"] = "auto"
    """Of the service or of batch scoring; auto: of the service, if it has any."""
    reference: ReferenceSpec = ReferenceSpec()
    window: int = Field(default=7, ge=1, le=90)
    """Partitions that are judged together, beside the newest by itself."""
    min_rows: int = Field(default=200, ge=20)
    """A window of fewer is not judged."""
    false_alarms: float = Field(default=0.02, gt=0, le=1)
    """Expected in 30 looks while nothing changes, of each kind of signal, before streaks make them rarer."""
    effect: float = Field(default=0.1, ge=0)
    """A column has drifted if its population stability index exceeds what days explain by this, and significantly."""
    weight: float = Field(default=0.2, gt=0, le=1)
    """Share of the model's importance that drifted columns must have for the drift to count."""
    margin: float | None = Field(default=None, ge=0)
    """How much the metric may fall before that counts; absent: the gates' margin."""
    maturity: float = Field(default=0.9, gt=0, le=1)
    """Share of a window's labels that must have come before its metric is judged."""
    max_null_rise: float = Field(default=0.05, gt=0, le=1)
    """Share of nulls, or of unseen values, above the reference's that is a fault of the data."""
    max_error_share: float = Field(default=0.01, ge=0, le=1)
    max_latency_ms: float | None = Field(default=None, gt=0)
    """99th percentile; absent: thrice the usual."""
    descriptors: dict[ColumnName, Literal["text", "image", "audio"]] = Field(default_factory=dict)
    """Columns of the payload that are described by numbers (length, brightness, duration), which are watched."""
    report_rows: int = Field(default=5000, ge=100)
    """Of a full report of what moved, on either side."""
    policy: PolicySpec = PolicySpec()

    @property
    def alpha(self) -> float:
        """Chance of a false signal of one look at one window; there are 30 looks, at a partition and a window each."""
        return self.false_alarms / 60

    @property
    def drift_alpha(self) -> float:
        """The same of a column: thirty times as much, as drift counts only where columns of much importance agree."""
        return min(30 * self.alpha, 0.05)
