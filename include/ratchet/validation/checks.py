"""Running expectations, and saying in a line what did not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from include.ratchet.validation.library import open_context
from include.ratchet.validation.reports import Finding

_EXAMPLES = 3
_LONG_ROWS = 20_000


@dataclass(frozen=True)
class Check:
    """One frame and what is expected of it.

    Attributes:
        name: what the frame is, as the page shows it.
        frame: a pandas frame, see `frames.to_frame`.
        expectations: Great Expectations' objects.
    """

    name: str
    frame: Any
    expectations: Sequence[Any]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes:
        result: Great Expectations' `ExpectationSuiteValidationResult`.
        failed: expectations of severity `fail` that did not hold.
        warned: those of severity `warn`.
    """

    result: Any
    failed: tuple[Finding, ...]
    warned: tuple[Finding, ...]


def run_checks(checks: Sequence[Check], suite_name: str) -> list[CheckResult]:
    """Check every frame."""
    source = open_context().data_sources.add_pandas(suite_name)
    return [_run_check(source, check) for check in checks]


def _run_check(source: Any, check: Check) -> CheckResult:
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    results = [
        _run_suite(source, f"{check.name} {number}" if number else check.name, check.frame[columns], expectations)
        for number, (columns, expectations) in enumerate(_narrow(check))
    ]
    result = results[0]
    result.results = [single for part in results for single in part.results]
    statistics = calc_validation_statistics(result.results)
    result.success, result.statistics = statistics.success, statistics._asdict()
    for single in result.results:
        single.result = make_plain(single.result)
    broken = [single for single in result.results if not single.success]
    return CheckResult(
        result=result,
        failed=tuple(_describe(single) for single in broken if _is_critical(single)),
        warned=tuple(_describe(single) for single in broken if not _is_critical(single)),
    )


def _run_suite(source: Any, name: str, frame: Any, expectations: Sequence[Any]) -> Any:
    from great_expectations import ExpectationSuite

    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    suite = ExpectationSuite(name=name, expectations=list(expectations))
    return batch.get_batch(batch_parameters={"dataframe": frame}).validate(suite)


def _narrow(check: Check) -> list[tuple[list[str], list[Any]]]:
    """Expectations with the columns that they look at, those of the whole table first.

    For every expectation the library copies all columns of the rows that it looks at; in a long frame that is most of
    the work. In a short one, a suite for each column would be.
    """
    everything = list(check.frame.columns)
    if len(check.frame) < _LONG_ROWS:
        return [(everything, list(check.expectations))]
    groups: dict[tuple[str, ...], list[Any]] = {tuple(everything): []}
    for expectation in check.expectations:
        named = _find_columns(expectation)
        is_narrow = bool(named) and set(named) <= set(everything)
        groups.setdefault(named if is_narrow else tuple(everything), []).append(expectation)
    return [(list(columns), expectations) for columns, expectations in groups.items() if expectations]


def _find_columns(expectation: Any) -> tuple[str, ...]:
    single = [getattr(expectation, name, None) for name in ("column", "column_A", "column_B")]
    return tuple(
        name for name in [*single, *(getattr(expectation, "column_list", None) or ())] if isinstance(name, str)
    )


def make_plain(value: Any) -> Any:
    """Python's own numbers, texts and None, in place of NumPy's and pandas', which the page's renderers trip over."""
    if isinstance(value, dict):
        return {key: make_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [make_plain(inner) for inner in value]
    if hasattr(value, "item"):
        return value.item()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return None if str(value) in {"<NA>", "NaT"} else str(value)


def _is_critical(single: Any) -> bool:
    return str(getattr(single.expectation_config.severity, "value", single.expectation_config.severity)) == "critical"


def _describe(single: Any) -> Finding:
    config = single.expectation_config
    kwargs = {name: value for name, value in config.kwargs.items() if value is not None}
    column = kwargs.pop("column", None)
    expected = ", ".join(f"{name} {_show(value)}" for name, value in kwargs.items() if name not in _HIDDEN)
    return Finding(config.type, column, _observe(single) + (f"; expected {expected}" if expected else ""))


_HIDDEN = frozenset({"batch_id", "severity", "strict_min", "strict_max", "or_equal", "ignore_row_if"})


def _observe(single: Any) -> str:
    """What was seen, in words."""
    result = single.result or {}
    if result.get("unexpected_count") is not None:
        share = result.get("unexpected_percent") or 0.0
        examples = ", ".join(_show(value) for value in result.get("partial_unexpected_list", [])[:_EXAMPLES])
        shown = f", such as {examples}" if examples and examples != "None" else ""
        return f"{result['unexpected_count']} of {result['element_count']} values ({share:.3g} %){shown}"
    if "observed_value" in result:
        return f"found {_show(result['observed_value'])}"
    return f"could not be checked: {_find_exception(single.exception_info)}"


def _find_exception(info: Any) -> str:
    """The message, which lies at one of two depths."""
    if "exception_message" in info:
        return str(info["exception_message"] or "no result")
    return next((str(inner["exception_message"]) for inner in info.values()), "no result")


def _show(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
