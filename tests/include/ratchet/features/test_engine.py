from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from include.ratchet.errors import SchemaChangedError
from include.ratchet.features import Inputs, training_rows
from include.ratchet.features.attach import memory_bytes
from include.ratchet.features.engine import Engine
from tests.include.ratchet.features.rides import KEY, make_inputs, make_model, make_settings, minute, steady_rides


def test_the_engine_is_bounded_and_reaches_for_nothing(tmp_path: Path) -> None:
    limits = replace(make_settings(tmp_path, threads=1), duckdb_memory="100MB")
    with Engine(limits) as engine:
        names = "threads", "memory_limit", "autoinstall_known_extensions", "autoload_known_extensions", "TimeZone"
        values = engine.fetch("SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names))
        assert values.to_pylist() == [
            {"threads": 1, "memory_limit": "95.3 MiB", "autoinstall_known_extensions": False,
             "autoload_known_extensions": False, "TimeZone": "UTC"}
        ]  # fmt: skip
        with pytest.raises(duckdb.Error):
            engine.fetch("SELECT * FROM 'https://example.org/rides.parquet'")


def test_what_does_not_fit_is_spilled_and_cleaned_up(tmp_path: Path) -> None:
    limits = replace(make_settings(tmp_path), duckdb_memory="60MB")
    with Engine(limits) as engine:
        engine.store("big", "SELECT range AS i, hash(range)::VARCHAR || repeat('x', 40) AS text FROM range(2_000_000)")
        assert engine.fetch("SELECT count(DISTINCT text) AS n FROM big").to_pylist() == [{"n": 2_000_000}]
        assert sum(path.stat().st_size for path in (tmp_path / "home" / "spill").rglob("*") if path.is_file()) > 10**6
    assert list((tmp_path / "home" / "spill").iterdir()) == []


def test_tables_are_read_from_memory_files_and_datasets_alike(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides())
    rides = inputs.tables["rides"]
    files = []
    for part, (start, length) in enumerate([(0, 50), (50, 70)]):
        path = tmp_path / "rides" / f"_partition={part}" / "it's.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = rides.slice(start, length)
        # A column that came later is not in the older file, and their order differs.
        pq.write_table(rows.select(rows.column_names[::-1]) if part else rows.append_column("old", rows["seats"]), path)
        files.append(str(path))
    frames = [
        training_rows(
            model,
            KEY,
            Inputs({**inputs.tables, "rides": source}),
            as_of=minute(999),
            window_start=None,
            settings=limits,
        )
        for source in (rides, files, pads.dataset(files, partitioning="hive"))
    ]
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


def test_types_are_cast_to_the_declared_ones(tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(steady_rides())
    rides = inputs.tables["rides"]
    odd = rides.set_column(4, "seats", rides["seats"].cast(pa.int16()))
    odd = odd.set_column(1, "at", rides["at"].cast(pa.timestamp("ns", "Asia/Tokyo")))
    odd = odd.set_column(5, "fare", rides["fare"].cast(pa.float32()))
    frames = [
        training_rows(
            model, KEY, Inputs({**inputs.tables, "rides": one}), as_of=minute(999), window_start=None, settings=limits
        )
        for one in (rides, odd)
    ]
    assert frames[0].equals(frames[1])


def test_a_declared_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    model, inputs = make_model(tmp_path), make_inputs(steady_rides())
    with (
        Engine(make_settings(tmp_path)) as engine,
        pytest.raises(SchemaChangedError, match=r"rain: .* expected mm too"),
    ):
        engine.bind_inputs(model, Inputs({**inputs.tables, "rain": inputs.tables["rain"].drop_columns(["mm"])}))


@pytest.mark.parametrize(
    ("limit", "size"), [("2GB", 2 * 10**9), ("512 MiB", 512 * 2**20), ("1.5 kB", 1500), ("7", 7), ("0B", 0)]
)
def test_memory_limits_are_read_as_duckdb_writes_them(limit: str, size: int) -> None:
    assert memory_bytes(limit) == size


def test_a_memory_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="found 'plenty'; expected a number and a unit"):
        memory_bytes("plenty")
