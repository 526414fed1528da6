from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import SCHEMA, land_day, land_days, order, write_rows

JANUARY = [order(number, 1 + number // 8) for number in range(24)]


@pytest.fixture
def table(model: Model, settings: Settings) -> Table:
    write_rows(model, JANUARY)
    land_days(model, [1, 2], settings)
    land_day(model, 3, settings)
    return Table(settings, "orders", "orders")


def test_before_the_first_landing_there_is_nothing(settings: Settings) -> None:
    table = Table(settings, "orders", "orders")
    assert (table.version(), table.schema(), table.row_counts()) == (None, None, {})
    with pytest.raises(FileNotFoundError, match=r"orders\.orders: nothing has been landed at .* yet"):
        table.read()


def test_a_version_is_read_as_it_was(table: Table) -> None:
    assert table.version() == 1
    assert table.row_counts() == {"2024-01-01": 8, "2024-01-02": 8, "2024-01-03": 8}
    assert table.row_counts(version=0) == {"2024-01-01": 8, "2024-01-02": 8}
    assert table.read(version=0).num_rows == 16
    assert table.dataset(version=0).count_rows() == 16


def test_partitions_and_columns_are_chosen(table: Table) -> None:
    rows = table.read(["2024-01-02"], columns=["order_id"])
    assert rows.column_names == ["order_id"]
    assert rows["order_id"].to_pylist() == [f"o{number}" for number in range(8, 16)]
    assert table.read([]).num_rows == 0


def test_the_schema_is_the_specs(table: Table) -> None:
    assert table.schema() == SCHEMA
    assert table.read().schema.field(PARTITION_COLUMN).type == "string"


def test_duckdb_reads_the_files_without_an_extension(table: Table) -> None:
    query = "SELECT _partition, sum(amount) FROM read_parquet(?, hive_partitioning = true) GROUP BY 1 ORDER BY 1"
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as duck:
        found = duck.execute(query, [table.files()]).fetchall()
    rows = table.read()
    expected = rows.group_by(PARTITION_COLUMN).aggregate([("amount", "sum")]).sort_by(PARTITION_COLUMN).to_pylist()
    assert [str(key) for key, _ in found] == [row[PARTITION_COLUMN] for row in expected]
    assert [total for _, total in found] == [row["amount_sum"] for row in expected]
    assert pc.sum(rows["amount"]).as_py() == sum(total for _, total in found)


def test_versions_are_kept_for_as_long_as_models_are(table: Table) -> None:
    configuration = table.open().metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 36500 days"


def test_old_versions_outlive_checkpoints(model: Model, settings: Settings) -> None:
    """The log is folded into a checkpoint every hundred commits; what is before it stays readable."""
    table = Table(settings, "orders", "orders")
    for number in range(103):
        write_rows(model, [order(1, amount=float(number))])
        land_day(model, 1, settings)
    assert table.version() == 102
    assert [table.read(version=version)["amount"][0].as_py() for version in (0, 57, 102)] == [0.0, 57.0, 102.0]


def test_merge_adds_what_is_new_and_rewrites_only_where_asked(settings: Settings) -> None:
    table = Table(settings, "orders", "_notes")

    def rows(**notes: int) -> pa.Table:
        return pa.table({"key": list(notes), "note": list(notes.values())})

    def notes() -> dict[str, int]:
        return dict(zip(*table.read().select(["key", "note"]).to_pydict().values(), strict=True))

    assert table.merge(rows(a=1), ["key"]) == 0
    assert table.merge(rows(a=2, b=2), ["key"]) == 1
    assert notes() == {"a": 1, "b": 2}
    table.merge(rows(a=3, c=3), ["key"], updates=True)
    assert notes() == {"a": 3, "b": 2, "c": 3}
    assert dict(zip(*table.read(version=0).to_pydict().values(), strict=True)) == {"a": 1}
    kept = table.open().metadata().configuration["delta.deletedFileRetentionDuration"]
    assert kept == "interval 36500 days"
