from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.ratchet.data.landing import LandingReport, land, land_many, late_partitions
from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.tables import Table
from include.ratchet.errors import PartitionUnavailableError, QuarantineLimitError, SchemaChangedError, SpecError
from include.ratchet.settings import Settings
from include.ratchet.spec import STATIC_KEY, Model, partition_of
from tests.include.ratchet.data.orders import (
    NO_CONNECTIONS,
    SCHEMA,
    day,
    land_day,
    land_days,
    landed_rows,
    make_settings,
    order,
    write_model,
    write_rows,
)

JANUARY = [order(number, 1 + number // 8) for number in range(64)]


def test_landing_twice_changes_nothing_and_makes_no_version(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    first, second = land_day(model, 2, settings), land_day(model, 2, settings)
    assert (first.version, first.is_changed) == (0, True)
    assert (second.version, second.is_changed) == (0, False)
    assert (second.partitions[0].inserted, second.partitions[0].updated) == (0, 0)
    assert asdict(second.partitions[0]) == asdict(first.partitions[0]) | {"inserted": 0}


def test_a_label_arrives_by_merge_when_its_time_has_come(model: Model, settings: Settings) -> None:
    """Orders are settled 30 hours later: unknown at the day's end, known a day and a half later."""
    write_rows(model, JANUARY)
    land_day(model, 1, settings)
    assert landed_rows(model, settings)["is_returned"].null_count == 8
    report = land_day(model, 2, settings)
    assert [counts.partition for counts in report.late] == ["2024-01-01"]
    land_day(model, 3, settings)
    by_day = {
        key: landed_rows(model, settings).filter(pa.compute.field("_partition") == key)
        for key in ("2024-01-01", "2024-01-02", "2024-01-03")
    }
    assert by_day["2024-01-01"]["is_returned"].null_count == 0
    assert by_day["2024-01-03"]["is_returned"].null_count == 8
    assert by_day["2024-01-03"]["settled_at"].null_count == 8, "when it will be settled is known only then, too"
    assert by_day["2024-01-03"]["refund"].null_count == 8


def test_a_known_label_survives_a_rerun_as_of_before_it_was_known(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    for number in (1, 2, 3):
        land_day(model, number, settings)
    before = landed_rows(model, settings)
    land_day(model, 1, settings)
    assert landed_rows(model, settings).equals(before)


def test_a_rerun_as_of_an_earlier_time_does_not_undo_a_correction(model: Model, settings: Settings) -> None:
    write_rows(model, [order(1, 1, amount=1.0)])
    land_day(model, 1, settings, as_of=datetime(2024, 1, 2, tzinfo=UTC))
    write_rows(model, [order(1, 1, amount=2.0)])
    land_day(model, 1, settings, as_of=datetime(2024, 1, 9, tzinfo=UTC))
    write_rows(model, [order(1, 1, amount=1.0), order(2, 1)])
    land_day(model, 1, settings, as_of=datetime(2024, 1, 3, tzinfo=UTC))
    assert {row["order_id"]: row["amount"] for row in landed_rows(model, settings).to_pylist()} == {
        "o1": 2.0,
        "o2": 2.0,
    }


def test_late_rows_come_with_the_next_days(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    land_day(model, 1, settings)
    write_rows(model, [*JANUARY, order(99, 1)])
    report = land_day(model, 2, settings)
    assert report.late[0].inserted == 1
    assert "o99" in landed_rows(model, settings)["order_id"].to_pylist()


def test_a_late_row_in_the_next_days_file_goes_to_its_own_day(tmp_path: Path, settings: Settings) -> None:
    """A drop of files by arrival: the row of yesterday lands in yesterday's partition, one of last week is odd."""
    model = write_model(tmp_path, {"source": {"files": f"{tmp_path}/{{partition}}.parquet"}})
    for key, rows in {
        "2024-01-08": [order(1, 8)],
        "2024-01-09": [order(2, 9), order(3, 8), order(4, 1)],
    }.items():
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / f"{key}.parquet")
    land_day(model, 8, settings)
    report = land_day(model, 9, settings)
    assert (report.read, report.landed, report.quarantined) == (3, 2, 1)
    assert Table(settings, "orders", "orders").row_counts() == {"2024-01-08": 2, "2024-01-09": 1}


@given(
    days=st.lists(st.integers(1, 8), min_size=1, max_size=8, unique=True).map(sorted),
    rows=st.lists(
        st.builds(
            order,
            st.integers(0, 200),
            st.integers(1, 8),
            amount=st.sampled_from([1.0, 2.0, -1.0]),
            is_returned=st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=24,
    ),
)
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_batch_gives_the_same_table_as_day_by_day(
    tmp_path_factory: pytest.TempPathFactory, days: list[int], rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    model = write_model(folder, {"quality": {"quarantine_limit": 1}})
    write_rows(model, rows)
    single, batch = make_settings(folder / "single"), make_settings(folder / "batch")
    landed = []
    for number in days:
        try:
            land_day(model, number, single)
            landed.append(number)
        except PartitionUnavailableError:
            continue
    if not landed:
        return
    report = land_days(model, days, batch)
    assert {counts.partition for counts in report.partitions} == {day(model, number).key for number in landed}
    if Table(single, "orders", "orders").version() is None:
        assert Table(batch, "orders", "orders").version() is None
    else:
        assert landed_rows(model, batch).equals(landed_rows(model, single))
    held = [quarantine_table(found, "orders", "orders") for found in (single, batch)]
    assert held[0].row_counts() == held[1].row_counts()


@given(order_of_days=st.permutations([1, 2, 3, 4]))
@hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_landing_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order_of_days: list[int]
) -> None:
    """A backfill may run its days in any order, and several at once."""
    folder = tmp_path_factory.mktemp("order")
    model = write_model(folder)
    write_rows(model, JANUARY)
    mixed, batch = make_settings(folder / "mixed"), make_settings(folder / "batch")
    for number in order_of_days:
        land_day(model, number, mixed)
    land_days(model, [1, 2, 3, 4], batch)
    assert landed_rows(model, mixed).equals(landed_rows(model, batch))


def test_a_batch_is_one_commit(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    report = land_days(model, range(1, 12), settings)
    assert report.version == 0
    assert (report.read, report.landed) == (64, 64)
    assert report.unavailable == ("2024-01-09", "2024-01-10", "2024-01-11")


def test_progress_is_told_once_for_every_partition_asked_for(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    land_days(model, [1, 2], settings)
    seen: list[str] = []
    land_many(
        model, "orders", [day(model, number) for number in (3, 4, 20)], lambda p: p.end, settings=settings,
        connections=NO_CONNECTIONS, run_id="test", progress=lambda partition: seen.append(partition.key),
    )  # fmt: skip
    assert seen == ["2024-01-03", "2024-01-04", "2024-01-20"]


def test_a_source_without_the_partition_is_told_clearly(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    with pytest.raises(PartitionUnavailableError, match=r"orders: the source has no rows for 2024-01-30; looked at"):
        land_day(model, 30, settings)
    assert Table(settings, "orders", "orders").version() is None


def test_too_many_bad_rows_fail_and_stay_in_quarantine(model: Model, settings: Settings) -> None:
    write_rows(model, [order(1, 1), order(2, 1, amount=-1.0), order(3, 1, items=0), order(4, 2)])
    with pytest.raises(QuarantineLimitError) as caught:
        land_days(model, [1, 2], settings)
    text = str(caught.value)
    assert "2024-01-01: 2 of 3 rows (66.7%)" in text
    assert "The limit is 50.0%" in text
    assert "amount: below 0 (1)" in text
    assert Table(settings, "orders", "orders").row_counts() == {"2024-01-02": 1}, "the good day has landed"
    assert quarantine_table(settings, "orders", "orders").row_counts() == {"2024-01-01": 2}


def test_a_repaired_row_leaves_the_quarantine(model: Model, settings: Settings) -> None:
    write_rows(model, [order(1, 1), order(2, 1), order(3, 1, amount=-1.0)])
    land_day(model, 1, settings)
    held = quarantine_table(settings, "orders", "orders")
    assert (held.row_counts(), held.version()) == ({"2024-01-01": 1}, 0)
    land_day(model, 1, settings)
    assert held.version() == 0, "the same bad row again is no news"
    write_rows(model, [order(1, 1), order(2, 1), order(3, 1)])
    land_day(model, 1, settings)
    assert held.row_counts() == {}
    assert Table(settings, "orders", "orders").row_counts() == {"2024-01-01": 3}


def test_a_new_column_is_in_the_report_and_old_rows_lack_it(model: Model, settings: Settings) -> None:
    rows = write_rows(model, JANUARY)
    land_day(model, 1, settings)
    write_rows(model, rows.append_column("channel", pa.array(["web"] * 64)))
    report = land_day(model, 6, settings)
    assert report.new_columns == ("channel",)
    kept = landed_rows(model, settings)
    assert kept["channel"].null_count == 8
    assert land_day(model, 6, settings).new_columns == ()


def test_a_lost_column_stops_a_new_partition_and_nothing_is_written(model: Model, settings: Settings) -> None:
    rows = write_rows(model, JANUARY)
    land_day(model, 1, settings)
    write_rows(model, rows.drop_columns(["country"]))
    with pytest.raises(SchemaChangedError, match="lost column country"):
        land_day(model, 6, settings)
    assert Table(settings, "orders", "orders").version() == 0


def test_a_type_that_the_spec_changes_under_a_table_stops(tmp_path: Path, model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    land_day(model, 1, settings)
    changed = {name: spec.model_dump(exclude_defaults=True) for name, spec in model.spec.columns.items()}
    changed["items"] = {"type": "float"}
    other = write_model(tmp_path, {"columns": changed})
    with pytest.raises(SchemaChangedError, match="items: found double, expected int64"):
        land_day(other, 2, settings)


STATIC = {
    "shops": {
        "source": {"files": "shops.csv"},
        "keys": ["shop"],
        "columns": {"shop": {"type": "string", "nullable": False}, "size": {"type": "integer", "min": 1}},
    }
}


def land_static(model: Model, settings: Settings) -> LandingReport:
    return land(
        model, "shops", day(model, 1), day(model, 1).end, settings=settings, connections=NO_CONNECTIONS, run_id="test"
    )


def test_a_static_table_is_replaced_when_it_changes(tmp_path: Path, settings: Settings) -> None:
    model = write_model(tmp_path, {"tables": STATIC})
    shops = model.folder / "shops.csv"
    shops.write_text("shop,size\nlille,1\nlyon,2\nbad,zero\n")
    model = write_model(tmp_path, {"tables": {"shops": {**STATIC["shops"], "quality": {"quarantine_limit": 0.5}}}})
    first = land_static(model, settings)
    assert (first.read, first.landed, first.quarantined, first.version) == (3, 2, 1, 0)
    assert first.partitions[0].partition == STATIC_KEY
    assert not land_static(model, settings).is_changed
    shops.write_text("shop,size\nlyon,3\n")
    assert land_static(model, settings).version == 1
    assert Table(settings, "orders", "shops").read(columns=["shop", "size"]).to_pylist() == [
        {"shop": "lyon", "size": 3}
    ]


def test_an_hourly_table_lands_the_hour_that_happens_twice(tmp_path: Path, settings: Settings) -> None:
    model = write_model(tmp_path, {"partition": "hour", "timezone": "Europe/Paris", "label": {"column": "is_returned"}})
    first = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    write_rows(model, [order(1, placed_at=first), order(2, placed_at=first + timedelta(hours=1))])
    hours = [partition_of(model.spec, first), partition_of(model.spec, first + timedelta(hours=1))]
    assert hours[0].key != hours[1].key
    land_many(model, "orders", hours, lambda p: p.end, settings=settings, connections=NO_CONNECTIONS, run_id="test")
    assert Table(settings, "orders", "orders").row_counts() == {hour.key: 1 for hour in hours}


def test_the_report_survives_json(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    report = land_days(model, [1, 2, 10], settings)
    assert LandingReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_run_is_in_the_tables_log_and_not_in_its_rows(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    land_day(model, 1, settings)
    table = Table(settings, "orders", "orders")
    assert table.open().history()[0]["run"] == "test"
    assert table.read().column_names == [*SCHEMA.names, "_partition"]


def test_late_partitions_reach_back_as_far_as_the_lateness(model: Model) -> None:
    assert [partition.key for partition in late_partitions(model, day(model, 9))] == ["2024-01-07", "2024-01-08"]
    assert [partition.key for partition in late_partitions(model, day(model, 2))] == ["2024-01-01"]
    assert late_partitions(model, day(model, 1)) == []


def test_late_partitions_are_days_also_when_clocks_change(tmp_path: Path) -> None:
    model = write_model(tmp_path, {"timezone": "America/New_York"})
    keys = [partition.key for partition in late_partitions(model, partition_of(model.spec, "2024-11-04"))]
    assert keys == ["2024-11-02", "2024-11-03"]


def test_a_broken_source_function_names_its_file(model: Model, settings: Settings) -> None:
    write_rows(model, JANUARY)
    (model.folder / "sources.py").write_text("def order(partition, as_of):\n    return 1\n")
    with pytest.raises(SpecError, match=r"sources\.py: orders: no such function.*did you mean 'order'"):
        land_day(model, 1, settings)
