"""The as-of join by Feast's file store; run by `benchmarks.features` inside an environment of its own.

features_feast.py FOLDER REPEATS: FOLDER holds readings.parquet and entities.parquet; prints seconds and rows as JSON.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

folder, repeats = Path(sys.argv[1]), int(sys.argv[2])
config = RepoConfig(
    project="benchmark",
    provider="local",
    registry=str(folder / "registry.db"),
    offline_store={"type": "file"},
    online_store={"type": "sqlite", "path": str(folder / "online.db")},
    entity_key_serialization_version=3,
)
store = FeatureStore(config=config)
device = Entity(name="device", join_keys=["device"], value_type=ValueType.INT64)
view = FeatureView(
    name="readings",
    entities=[device],
    ttl=timedelta(0),
    schema=[Field(name=f"f{i}", dtype=Float64) for i in range(20)],
    source=FileSource(path=str(folder / "readings.parquet"), timestamp_field="event_timestamp"),
)
store.apply([device, view])
entities = pd.read_parquet(folder / "entities.parquet")
seconds, cpu_seconds = [], []
for _ in range(repeats):
    start, cpu_start = time.perf_counter(), time.process_time()
    rows = len(store.get_historical_features(entities, [f"readings:f{i}" for i in range(20)]).to_df())
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start)
sys.stdout.write(
    json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "rows_in": len(entities), "rows_out": rows})
)
