"""The learning half of a spec: window, split, candidates, search, evaluation and gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from include.ratchet.spec.base import ColumnName, Name, Spec
from include.ratchet.spec.bias import BiasSpec, CostsSpec
from include.ratchet.spec.dependencies import DependencyGateSpec
from include.ratchet.spec.durations import Duration, format_duration

Strategy = Literal["grid", "random", "tpe", "halving"]
Metric = Literal[
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1", "recall", "precision", "ece",
    "f1_macro", "balanced_accuracy", "rmse", "mae", "r2", "mape",
]  # fmt: skip
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "binary": (
        "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1", "recall",
        "precision", "ece",
    ),
    "multiclass": ("log_loss", "accuracy", "balanced_accuracy", "f1_macro", "ece"),
    "regression": ("rmse", "mae", "r2", "mape"),
}  # fmt: skip
DEFAULT_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "rmse", "mae", "mape"})


class WindowSpec(Spec):
    """Which past a model learns from, counted back from `as_of`."""

    kind: Literal["sliding", "expanding"] = "sliding"
    length: Duration = Field(default="365d", validate_default=True)
    """Sliding: how far back the window reaches. Expanding windows ignore it."""


class SplitSpec(Spec):
    """How a snapshot is divided into train, validation and test.

    By time: the last `test` before `as_of` is the test set and the `validation` before it decides the search.
    Rows whose label was not available when the next part begins are purged from the part before.
    """

    by: Literal["time", "random", "stratified"] = "time"
    validation: Duration = Field(default="28d", validate_default=True)
    test: Duration = Field(default="28d", validate_default=True)
    embargo: Duration = Field(default="0m", validate_default=True)
    """A gap left out before each boundary."""
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    """Random and stratified splits."""
    test_share: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            total = self.validation_share + self.test_share
            message = f"validation_share + test_share is {total:g}; expected below 1, so that rows to train on remain"
            raise ValueError(message)
        return self


class IntRange(Spec):
    """A whole number between two bounds, both included."""

    int: tuple[int, int]
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_bounds(self.int, self.log)
        return self


class FloatRange(Spec):
    """A real number between two bounds."""

    float: tuple[float, float]
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_bounds(self.float, self.log)
        return self


class Choice(Spec):
    """One of some values."""

    choice: tuple[str | int | float | bool | None, ...] = Field(min_length=1)


def _check_bounds(bounds: tuple[float, float], log: bool) -> None:
    low, high = bounds
    if low >= high:
        message = f"the range [{low:g}, {high:g}] is empty; expected [low, high] with low < high"
        raise ValueError(message)
    if log and low <= 0:
        message = f"a logarithmic range starts at {low:g}; expected a bound above 0"
        raise ValueError(message)


def _kind_of_domain(value: Any) -> str | None:
    found = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return next((kind for kind in ("int", "float", "choice") if kind in found), None)


Domain = Annotated[
    Annotated[IntRange, Tag("int")] | Annotated[FloatRange, Tag("float")] | Annotated[Choice, Tag("choice")],
    Discriminator(
        _kind_of_domain,
        custom_error_type="domain",
        custom_error_message="expected one of int, float and choice, such as {float: [0.01, 1], log: true}",
    ),
]


class CandidateSpec(Spec):
    """One kind of estimator that competes. The model's `estimator.py` builds it from its name and parameters."""

    space: dict[ColumnName, Domain] = Field(default_factory=dict)
    params: dict[ColumnName, str | int | float | bool | None] = Field(default_factory=dict)
    """Parameters that are not searched."""


class SearchSpec(Spec):
    """How hyperparameters are searched."""

    strategy: Strategy = "tpe"
    trials: int = Field(default=20, ge=1, le=10_000)
    """Over all candidates together."""
    timeout: Duration = Field(default="1h", validate_default=True)
    """No trial starts after this much work."""
    max_rows: int | None = Field(default=None, ge=100)
    """Trials fit on at most that many of the newest training rows; the final fit takes all."""


class RateBaseline(Spec):
    """Predict each group's mean label in the training rows."""

    rate: tuple[ColumnName, ...] = Field(min_length=1)


class FormatConsent(Spec):
    """Formats beside skops that the owner accepts. Loading any of them can run code."""

    allow: tuple[Literal["pickle", "cloudpickle"], ...] = ()
    trusted_types: tuple[str, ...] = ()
    """Types that skops may load besides the well-known ones of scikit-learn and LightGBM."""


class UpdatesSpec(Spec):
    """Learning on from the champion, on the rows that have come since, by `partial_fit` or the model's own `update`."""

    full_every: Duration = Field(default="28d", validate_default=True)
    """So long after the last fit from nothing the next one is due. What a monitor asks for always is one."""


class ResourcesSpec(Spec):
    """What the container of a search or a fit may take."""

    cpus: float = Field(default=1.0, gt=0)
    memory: str = Field(default="2GB", pattern=r"^[1-9]\d*(MB|GB)$")
    """One that takes more is ended, and the task says so."""
    network: bool = False
    """Whether an estimator may reach anything beyond its container."""


class TrainingSpec(Spec):
    """How candidates are fitted."""

    window: WindowSpec = WindowSpec()
    split: SplitSpec = SplitSpec()
    candidates: dict[Name, CandidateSpec] = Field(default_factory=lambda: {"default": CandidateSpec()}, min_length=1)
    backend: Literal["duckdb", "spark"] = "duckdb"
    """What computes the training rows, to the same values. Spark: where the tables outgrow a machine."""
    search: SearchSpec = SearchSpec()
    baselines: tuple[RateBaseline, ...] = ()
    """Besides the dummy and the present champion, which always run."""
    seed: int = Field(default=20130101, ge=0, le=2**32 - 1)
    threads: int = Field(default=1, ge=1)
    """Of one fit. Fixed, as it may change results."""
    isolation: Literal["none", "docker", "kubernetes"] = "none"
    """Where trials and fits run: in the worker, in a container that the worker starts, or in the task's own pod."""
    resources: ResourcesSpec = ResourcesSpec()
    format: FormatConsent = FormatConsent()
    updates: UpdatesSpec | None = None
    """Absent: every training fits anew."""

    @model_validator(mode="after")
    def _check_updates(self) -> Self:
        if self.updates is not None and self.split.by != "time":
            message = f"updates learn from newer rows, but split.by is {self.split.by}; expected time"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.split.by == "time" and self.window.kind == "sliding":
            held_out = self.split.validation + self.split.test + 2 * self.split.embargo
            if held_out >= self.window.length:
                message = (
                    f"validation, test and embargo take {format_duration(held_out)} of a window of "
                    f"{format_duration(self.window.length)}; shorten them or lengthen the window"
                )
                raise ValueError(message)
        return self


class EvaluationSpec(Spec):
    """How a candidate is judged on the test rows."""

    metric: Metric | None = None
    """The one that decides; absent: roc_auc, log_loss or rmse by task."""
    metrics: tuple[Metric, ...] = ()
    slices: tuple[ColumnName, ...] = ()
    min_slice_rows: int = Field(default=200, ge=10)
    """Fewer rows are not judged by themselves: as a slice, a group, or the window that asked for a retraining."""
    sensitive: tuple[ColumnName, ...] = ()
    """Attributes over which fairness is measured."""
    costs: CostsSpec = CostsSpec()
    """Binary tasks: what the what-if of thresholds weighs. No gate reads them."""
    bias: BiasSpec = BiasSpec()
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Score from which a binary prediction counts as positive."""
    resamples: int = Field(default=500, ge=100, le=10_000)
    """Bootstrap resamples behind every interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class ApprovalSpec(Spec):
    """A person's word before promotion, asked for in Airflow's UI. No answer in time means no."""

    required: bool = False
    timeout: Duration = Field(default="24h", validate_default=True)


class GatesSpec(Spec):
    """What a candidate must pass. A gate that is absent does not run; those with a default always do."""

    min_metric: float | None = None
    """The decisive metric must reach this (stay below it where lower is better), with its interval's worse end."""
    beats_baseline: float = 0.0
    """The paired interval of candidate minus best baseline must lie above this."""
    versus_champion: Literal["non_inferior", "superior"] = "non_inferior"
    margin: float = Field(default=0.01, ge=0)
    """How much worse than the champion a non-inferior candidate may be, at the paired interval's worse end."""
    max_slice_drop: float | None = Field(default=0.05, ge=0)
    """No slice may be worse than the champion there by more than this (with the interval's better end)."""
    max_ece: float | None = Field(default=None, gt=0, le=1)
    max_fairness_gap: float | None = Field(default=None, gt=0, le=1)
    """Largest difference of equalised odds between groups of a sensitive attribute."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Median time to predict one row."""
    max_size_mb: float | None = Field(default=None, gt=0)
    reproducible: bool = True
    """Fitting twice must give identical predictions."""
    min_test_rows: int = Field(default=500, ge=1)
    min_positive_rows: int = Field(default=50, ge=0)
    """Classification: of the rarest class in the test rows."""
    window_margin: float = Field(default=0.0, ge=0)
    """On the window that asked for the retraining, the candidate must beat the champion by more than this."""
    dependencies: DependencyGateSpec | None = None
    approval: ApprovalSpec = ApprovalSpec()

    def check_asked(self, task: str, sensitive: Sequence[str]) -> None:
        """Stop at a gate that could never be asked, as people would believe that it holds.

        Raises:
            ValueError: the task, or a lack of sensitive attributes, leaves it nothing to ask.
        """
        if self.max_fairness_gap is not None and not sensitive:
            message = "gates.max_fairness_gap: found no groups to compare; expected columns in evaluation.sensitive"
            raise ValueError(message)
        if self.max_ece is not None and task == "regression":
            message = "gates.max_ece: found a regression, which has no probabilities to calibrate; expected min_metric"
            raise ValueError(message)


class AlertsSpec(Spec):
    """Whom to tell."""

    slack_connection: str = "slack_default"
    channel: str | None = None
    """Absent: the one that the connection or webhook is set to."""
    mention: str | None = None
    """Said at the head of a failure, such as `<!here>` or `<@U024BE7LH>`."""
