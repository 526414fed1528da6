"""A model of letters, with 5 % of the source's labels turned round: spam has many links, and the truth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.ingest import land_partitions
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, partition_of, partitions_between

KEY = ModelKey("letters")
FIRST, LAST, ROWS = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC), 100
BEFORE, SAID, AFTER = (datetime(2026, 2, day, tzinfo=UTC) for day in (12, 13, 14))
NOW = datetime(2026, 2, 20, 9, tzinfo=UTC)
SPEC = """
name: letters
owner: post
description: Is a letter spam? A small model for tests.
task: binary
source: {{python: letters}}
keys: [letter_id]
event_time: sent_at
start: "2026-02-01"
label: {{column: is_spam, delay: 1h{annotations}}}
columns:
  letter_id: {{type: string, nullable: false}}
  sent_at: {{type: timestamp, nullable: false}}
  links: {{type: float}}
  words: {{type: float}}
  is_spam: {{type: boolean}}
training:
  window: {{length: 30d}}
  split: {{validation: 4d, test: 4d}}
  candidates: {{logistic: {{}}}}
gates: {{min_test_rows: 30, min_positive_rows: 5}}
"""
FEATURES = """
from include.ratchet.features import Features


def features(t):
    return Features(links=t.rows.links, words=t.rows.words)
"""
ESTIMATOR = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def estimator(candidate, params, seed, threads):
    return make_pipeline(StandardScaler(), LogisticRegression(random_state=seed, **params))
"""
SOURCES = """
import pandas as pd

from tests.include.ratchet.labels.letters import LAST, letters_of


def letters(partition, as_of):
    found = pd.DataFrame(letters_of(partition.start))
    return found if partition.start <= LAST else found.head(0)
"""
UNLABELLED = SOURCES.replace("letters_of(partition.start))", "letters_of(partition.start)).drop(columns='is_spam')")
"""The same without a label."""


def letters_of(day: datetime) -> dict[str, Any]:
    """A day's letters as the source has them."""
    generator = np.random.default_rng(int(day.timestamp()))
    spam = generator.random(ROWS) < 0.3
    flips = generator.random(ROWS) < 0.05
    return {
        "letter_id": [f"{day:%m%d}-{number:03d}" for number in range(ROWS)],
        "sent_at": [day + timedelta(minutes=10 * number) for number in range(ROWS)],
        "links": np.where(spam, generator.normal(8, 1.2, ROWS), generator.normal(2, 1.2, ROWS)).round(3),
        "words": generator.normal(100, 20, ROWS).round(0),
        "is_spam": spam ^ flips,
    }


def planted() -> dict[str, bool]:
    """The truth about the letters whose label is wrong, by key as tables hold it."""
    found = {}
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=number)
        generator = np.random.default_rng(int(day.timestamp()))
        spam, flips = generator.random(ROWS) < 0.3, generator.random(ROWS) < 0.05
        found |= {json.dumps([f"{day:%m%d}-{place:03d}"]): bool(spam[place]) for place in np.flatnonzero(flips)}
    return found


def given() -> dict[str, bool]:
    """The source's labels, by the letters' own ids."""
    days = (letters_of(FIRST + timedelta(days=number)) for number in range((LAST - FIRST).days + 1))
    return {one: bool(label) for day in days for one, label in zip(day["letter_id"], day["is_spam"], strict=True)}


def make_letters(folder: Path, annotations: str | None = "{rule: majority}", *, sources: str = SOURCES) -> Workspace:
    """An installation with all letters landed.

    Args:
        folder: where it is made.
        annotations: of the label in model.yaml; None: the source's label is the only one.
        sources: the model's `sources.py`.
    """
    model = folder / "models" / "letters"
    model.mkdir(parents=True)
    spec = SPEC.format(annotations=f", annotations: {annotations}" if annotations else "")
    (model / "model.yaml").write_text(spec)
    (model / "features.py").write_text(FEATURES)
    (model / "estimator.py").write_text(ESTIMATOR)
    (model / "sources.py").write_text(sources)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    workspace = Workspace(settings, MappedConnections({}), lambda: NOW)
    found = workspace.model("letters")
    days = partitions_between(found.spec, partition_of(found.spec, FIRST), partition_of(found.spec, LAST))
    land_partitions(workspace, found, [day.key for day in days], "test")
    return workspace


def doccano_lines(labels: Mapping[str, Any], **more: Any) -> str:
    """A user's file of a doccano export, of the schema of its `backend/data_export`: meta stands beside `id`."""
    lines = [
        {"id": number, "text": f"letter {name}", "letter_id": name, **more, "Comments": [],
         "label": [] if label is None else [str(label).lower()]}
        for number, (name, label) in enumerate(labels.items(), start=1)
    ]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines)


def studio_tasks(words: Sequence[tuple[str, Any, Any, datetime]]) -> list[dict[str, Any]]:
    """A JSON export of Label Studio: tasks with one annotation each, as (letter, choice, who, when).

    The schema is that of the SDK's converter tests (`csv_test_history.json`); None as choice is a skipped task.
    """
    return [
        {
            "id": 6141 + number,
            "annotations": [{
                "id": 18047 + number,
                "completed_by": who,
                "result": [] if choice is None else [{
                    "id": "d1uGfhDvN6", "type": "choices", "value": {"choices": [choice]}, "origin": "manual",
                    "to_name": "row", "from_name": "is_spam",
                }],
                "reviews": [], "was_cancelled": choice is None, "ground_truth": False,
                "created_at": (when - timedelta(minutes=5)).isoformat().replace("+00:00", "Z"),
                "updated_at": when.isoformat().replace("+00:00", "Z"),
                "draft_created_at": None, "lead_time": 1.849, "prediction": {}, "result_count": 0,
                "unique_id": "de253957-8959-4e6f-9022-30d08bbea9f3", "import_id": None, "last_action": "submitted",
                "task": 6141 + number, "project": 24, "updated_by": 14, "parent_prediction": None,
                "parent_annotation": None, "last_created_by": 14,
            }],
            "file_upload": "de982d35-letters.json", "drafts": [], "predictions": [], "agreement": 100,
            "data": {"text": f"letter {letter}", "letter_id": letter}, "meta": {},
            "created_at": "2026-02-12T12:08:36.422297Z", "updated_at": "2026-02-12T12:09:16.934164Z", "inner_id": 1,
            "total_annotations": 1, "cancelled_annotations": 0, "total_predictions": 0, "comment_count": 0,
            "unresolved_comment_count": 0, "last_comment_updated_at": None, "project": 24, "updated_by": 14,
            "comment_authors": [],
        }
        for number, (letter, choice, who, when) in enumerate(words)
    ]  # fmt: skip
