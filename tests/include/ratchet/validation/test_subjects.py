from __future__ import annotations

import json
import pickle
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.ratchet.data.landing import land, static_partition
from include.ratchet.data.snapshots import Snapshot, build_snapshot
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.errors import ValidationFailedError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.validation import ValidationReport, validate_partition, validate_partitions, validate_snapshot
from tests.include.ratchet.data.orders import (
    NO_CONNECTIONS,
    SCHEMA,
    SPEC,
    day,
    land_days,
    landed_rows,
    order,
    write_model,
    write_rows,
)

MONTH = [order(number, 1 + number // 20) for number in range(300)]


def write_landed(settings: Settings, rows: list[dict[str, Any]] | pa.Table, number: int = 1) -> None:
    """Rows in the table as landing would never put them there: another writer's, or an older rule's."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, SCHEMA)
    key = f"2024-01-{number:02d}"
    target = Table(settings, "orders", "orders")
    keyed = table.append_column(PARTITION_COLUMN, pa.array([key] * table.num_rows))
    target.commit(target.open(), keyed, [key], {}, {})


def check(model: Model, settings: Settings, number: int = 1, **changes: Any) -> ValidationReport:
    partition = day(model, number)
    return validate_partition(
        model, "orders", partition, settings=settings, run_id="manual__2024-01-01T00:00:00+00:00",
        **{"as_of": partition.end, **changes},
    )  # fmt: skip


def names(findings: tuple[Any, ...]) -> set[tuple[str, str | None]]:
    return {(finding.expectation, finding.column) for finding in findings}


def test_what_landing_lets_through_passes(model: Model, settings: Settings) -> None:
    write_rows(model, MONTH)
    land_days(model, range(1, 16), settings)
    report = check(model, settings, 15)
    assert report.passed
    assert (report.failed, report.warned) == ((), ())
    assert report.rows == 20
    assert report.checked > 12
    report.raise_for_failures()


@pytest.mark.parametrize(
    ("changes", "expectation", "column"),
    [
        ({"amount": -1.0}, "expect_column_values_to_be_between", "amount"),
        ({"amount": 1001.0}, "expect_column_values_to_be_between", "amount"),
        ({"country": "XX"}, "expect_column_values_to_be_in_set", "country"),
        ({"order_id": None}, "expect_column_values_to_not_be_null", "order_id"),
        ({"order_id": "o3"}, "expect_column_values_to_be_unique", "order_id"),
        ({"placed_at": datetime(2024, 1, 2, tzinfo=UTC)}, "expect_column_values_to_be_between", "placed_at"),
        ({"items": 0}, "expect_column_values_to_be_between", "items"),
    ],
)
def test_every_rule_of_the_spec_is_checked_on_what_has_landed(
    model: Model, settings: Settings, changes: dict[str, Any], expectation: str, column: str
) -> None:
    write_landed(settings, [*(order(number) for number in range(9)), order(9, **changes)])
    report = check(model, settings)
    assert names(report.failed) == {(expectation, column)}
    assert not report.passed


def test_a_column_of_another_type_fails(model: Model, settings: Settings) -> None:
    rows = pa.Table.from_pylist([order(number) for number in range(9)], SCHEMA)
    as_float = rows["items"].cast(pa.float64())
    write_landed(settings, rows.set_column(rows.column_names.index("items"), "items", as_float))
    assert names(check(model, settings).failed) == {("expect_column_type_to_be", "items")}


def test_integers_with_gaps_are_still_integers(model: Model, settings: Settings) -> None:
    write_landed(settings, [order(1, items=None), order(2, items=2**53 + 1)])
    assert check(model, settings).passed


def test_a_lost_column_fails_and_is_named(model: Model, settings: Settings) -> None:
    rows = pa.Table.from_pylist([order(number) for number in range(9)], SCHEMA).drop_columns(["country"])
    write_landed(settings, rows)
    report = check(model, settings)
    assert {finding.column for finding in report.failed} == {"country"}
    assert "country" in report.failed[0].detail


def test_outcomes_may_be_missing_and_too_many_nulls_are_told(tmp_path: Path, settings: Settings) -> None:
    columns = {
        **SPEC["columns"],
        "is_returned": {"type": "boolean", "nullable": False},
        "country": {"type": "string", "max_null_share": 0.2, "severity": "warn"},
    }
    model = write_model(tmp_path, {"columns": columns})
    rows = [order(n, is_returned=None, country=None if n < 3 else "FR") for n in range(10)]
    write_landed(settings, rows)
    report = check(model, settings)
    assert report.passed
    assert names(report.warned) == {("expect_column_values_to_not_be_null", "country")}
    assert "3 of 10 values (30 %)" in report.warned[0].detail


@pytest.mark.parametrize(("severity", "passed"), [("warn", True), ("fail", False)])
def test_the_row_count_is_judged_by_the_trailing_weeks(
    tmp_path: Path, settings: Settings, severity: str, passed: bool
) -> None:
    model = write_model(tmp_path, {"quality": {"row_count_tolerance": 0.25, "row_count_severity": severity}})
    write_rows(model, [*MONTH[:200], *(order(number, 11) for number in range(900, 910))])
    land_days(model, range(1, 12), settings)
    assert not check(model, settings, 10).warned
    report = check(model, settings, 11)
    assert report.passed is passed
    found = (*report.failed, *report.warned)
    assert names(found) == {("expect_table_row_count_to_be_between", None)}
    assert found[0].detail == "found 10; expected min_value 15, max_value 25"


def test_a_partition_that_is_not_there_has_too_few_rows(model: Model, settings: Settings) -> None:
    empty = check(model, settings)
    assert (empty.rows, names(empty.warned)) == (0, {("expect_table_row_count_to_be_between", None)})
    write_rows(model, MONTH)
    land_days(model, range(1, 4), settings)
    report = check(model, settings, 30)
    assert (report.rows, report.passed, len(report.warned)) == (0, True, 1)


def test_stale_data_fails(tmp_path: Path, settings: Settings) -> None:
    model = write_model(tmp_path, {"quality": {"max_age": "2h"}})
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    write_landed(settings, [order(n, placed_at=noon - timedelta(minutes=n)) for n in range(9)])
    assert names(check(model, settings).failed) == {("expect_column_max_to_be_between", "placed_at")}
    assert check(model, settings, as_of=noon + timedelta(hours=2)).passed, "ingested at two, noon is fresh"


def test_a_models_own_expectations_join_in(model: Model, settings: Settings) -> None:
    write_rows(model, MONTH)
    land_days(model, [1], settings)
    (model.folder / "expectations.py").write_text(
        "import great_expectations.expectations as gxe\n"
        "def expectations(table):\n"
        "    assert table in {'orders', 'snapshot'}\n"
        "    return [gxe.ExpectColumnMeanToBeBetween(column='amount', min_value=500, severity='warning')]\n"
    )
    report = check(model, settings)
    assert names(report.warned) == {("expect_column_mean_to_be_between", "amount")}
    assert report.passed


def test_a_failure_says_everything_with_numbers(model: Model, settings: Settings) -> None:
    write_landed(settings, [*(order(number) for number in range(9)), order(9, amount=-1.0, country="XX")])
    report = check(model, settings)
    with pytest.raises(ValidationFailedError) as caught:
        report.raise_for_failures()
    text = str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301
    assert text.startswith(f"orders: orders 2024-01-01: 2 of {report.checked} expectations failed on 10 rows:")
    assert "amount: expect_column_values_to_be_between: 1 of 10 values (10 %), such as -1; expected" in text
    assert "such as XX; expected value_set ['FR', 'DE']" in text
    assert report.docs_path in text


def test_results_are_kept_as_json_and_as_a_page_of_its_own(model: Model, settings: Settings) -> None:
    write_landed(settings, [*(order(number) for number in range(9)), order(9, country="<b>")])
    report = check(model, settings)
    kept = json.loads(Path(report.results_path).read_text())
    assert ValidationReport.from_dict({key: kept[key] for key in report.to_dict()}) == report
    assert len(kept["results"][0]["results"]) == report.checked
    page = Path(report.docs_path).read_text()
    assert "orders: orders 2024-01-01" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert not re.search(r"<script|<link|<img|href=|src=|@import|url\(", page), "nothing is loaded from elsewhere"
    assert "values must belong to this set" in page
    assert Path(report.docs_path).parent.name == "manual__2024-01-01T00_00_00_00_00"


def test_the_library_is_silent(
    model: Model, settings: Settings, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_landed(settings, [order(number) for number in range(9)])
    check(model, settings)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_many_partitions_are_checked_in_one_pass(model: Model, settings: Settings) -> None:
    write_rows(model, MONTH)
    land_days(model, range(1, 16), settings)
    days = [day(model, number) for number in range(1, 18)]
    report = validate_partitions(model, "orders", days, settings=settings, run_id="r", as_of=days[-1].end)
    assert (report.subject, report.rows, report.passed) == ("2024-01-01..2024-01-17", 300, True)
    assert [finding.detail for finding in report.warned] == [
        "2 of 17 values (11.8 %), such as [0, 10], [0, 10]; expected column_A rows, column_B low"
    ]
    write_landed(settings, [*MONTH[20:39], order(39, 2, amount=-1.0)], 2)
    report = validate_partitions(model, "orders", days, settings=settings, run_id="r", as_of=days[-1].end)
    assert names(report.failed) == {("expect_column_values_to_be_between", "amount")}


def test_a_static_table_is_checked_whole(tmp_path: Path, settings: Settings) -> None:
    shops = {"source": {"files": "shops.csv"}, "keys": ["shop"], "columns": {"shop": {"type": "string"}}}
    model = write_model(tmp_path, {"tables": {"shops": shops}})
    (model.folder / "shops.csv").write_text("shop,size\nlille,1\nlyon,2\n")
    land(model, "shops", day(model, 1), day(model, 1).end, settings=settings, connections=NO_CONNECTIONS, run_id="r")
    report = validate_partition(
        model, "shops", static_partition(), settings=settings, run_id="r", as_of=day(model, 1).end
    )
    assert (report.passed, report.warned, report.rows) == (True, (), 2)


def snapshot_of(settings: Settings, rows: pa.Table) -> Snapshot:
    return build_snapshot(
        ModelKey("orders"), as_of=datetime(2024, 1, 20, tzinfo=UTC), window_start=datetime(2024, 1, 2, tzinfo=UTC),
        query="all", versions={"orders": 0}, compute=lambda: rows, settings=settings,
    )  # fmt: skip


def training_rows(model: Model, settings: Settings) -> pa.Table:
    write_rows(model, MONTH)
    land_days(model, range(1, 16), settings)
    rows = landed_rows(model, settings).select(["order_id", "placed_at", "amount", "country", "is_returned"])
    inside = [row for row in rows.to_pylist() if row["placed_at"].day > 1 and row["is_returned"] is not None]
    table = pa.Table.from_pylist(inside, rows.schema)
    return table.append_column("rate_7d", pa.array([0.5] * table.num_rows))


def test_a_good_snapshot_passes(model: Model, settings: Settings) -> None:
    report = validate_snapshot(
        model, snapshot_of(settings, training_rows(model, settings)), settings=settings, run_id="r"
    )
    assert (report.passed, report.warned, report.table) == (True, (), "snapshot")
    assert report.as_of == "2024-01-20T00:00:00+00:00"


def test_a_snapshot_without_anything_to_learn_fails(model: Model, settings: Settings) -> None:
    rows = training_rows(model, settings)
    empty = {
        "is_returned": pa.array([True] * rows.num_rows),
        "rate_7d": pa.nulls(rows.num_rows, pa.float64()),
        "placed_at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * rows.num_rows, rows.schema.field("placed_at").type),
    }
    for name, values in empty.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    report = validate_snapshot(model, snapshot_of(settings, rows), settings=settings, run_id="r")
    assert names(report.failed) == {
        ("expect_column_unique_value_count_to_be_between", "is_returned"),
        ("expect_column_values_to_be_between", "placed_at"),
    }
    assert names(report.warned) == {("expect_column_proportion_of_non_null_values_to_be_between", "rate_7d")}


def test_an_empty_snapshot_fails(model: Model, settings: Settings) -> None:
    rows = training_rows(model, settings).slice(0, 0)
    report = validate_snapshot(model, snapshot_of(settings, rows), settings=settings, run_id="r")
    assert ("expect_table_row_count_to_be_between", None) in names(report.failed)


def test_a_long_table_is_checked_like_a_short_one(model: Model, settings: Settings) -> None:
    """Above some length each column is checked by itself; what is found is the same."""
    days = [order(n, order_id=f"o{n}", placed_at=datetime(2024, 1, 1, tzinfo=UTC)) for n in range(30_000)]
    days[7] |= {"amount": -1.0, "country": "XX", "order_id": "o8"}
    write_landed(settings, days)
    long = check(model, settings)
    write_landed(settings, days[:1000])
    short = check(model, settings)
    assert (long.rows, short.rows) == (30_000, 1000)
    assert long.checked == short.checked
    assert names(long.failed) == names(short.failed)
    assert len(long.failed) == 3
    kept = json.loads(Path(long.results_path).read_text())["results"][0]
    assert len(kept["results"]) == long.checked
    assert kept["statistics"]["unsuccessful_expectations"] == 3
    assert kept["success"] is False
    assert Path(long.docs_path).read_text().count("values must belong to this set") == 1


def test_allowed_values_and_lengths_are_of_the_columns_type(tmp_path: Path, settings: Settings) -> None:
    columns = {
        **SPEC["columns"],
        "items": {"type": "integer", "values": ["1", "2"]},
        "country": {"type": "string", "min": 2, "max": 2},
    }
    model = write_model(tmp_path, {"columns": columns})
    write_landed(settings, [order(n, items=1 + n % 2) for n in range(9)])
    assert check(model, settings).passed
    write_landed(settings, [order(1, items=3, country="FRA")])
    assert names(check(model, settings).failed) == {
        ("expect_column_values_to_be_in_set", "items"),
        ("expect_column_value_lengths_to_be_between", "country"),
    }
