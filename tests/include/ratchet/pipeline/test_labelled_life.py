"""A version that learnt from people's labels: its card, its outcomes, and making it again after they said more."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow as pa
import pytest

from include.ratchet.data.records import record_keys
from include.ratchet.features import Inputs
from include.ratchet.labels.intake import Intake
from include.ratchet.pipeline.labelling import find_errors, import_labels
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.reproduce import reproduce
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import usual_candidate
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.versions import read_artifact
from include.ratchet.replay.basis import Versions
from include.ratchet.rollout.labels import read_outcomes
from include.ratchet.spec.labels import ANNOTATIONS
from tests.include.ratchet.labels.letters import (
    AFTER,
    BEFORE,
    FIRST,
    KEY,
    NOW,
    SAID,
    given,
    letters_of,
    make_letters,
    planted,
    studio_tasks,
)

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")
WRONG = [json.loads(key)[0] for key in sorted(planted())[:12]]


def say(workspace, folder, letters, when, people=(1, 2)):
    """Two people say of letters that the source is wrong."""
    words = [(name, str(not given()[name]).lower(), who, when) for name in letters for who in people]
    (folder / "export.json").write_text(json.dumps(studio_tasks(words)))
    return import_labels(workspace, workspace.model("letters"), [folder / "export.json"], Intake())


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    workspace = make_letters(folder)
    say(workspace, folder, WRONG[:10], SAID)
    result = run_model(workspace, workspace.model("letters"), TrainingRequest(KEY, "first", AFTER, trials=1),
                       lambda *step: None)  # fmt: skip
    yield workspace, result, folder
    engine_of(workspace.settings.database_url).dispose()


def test_card_tells_of_classes_labellers_and_people(life):
    workspace, result, _ = life
    text = read_artifact(result.version, "card.md", workspace.settings).decode()
    for words in (
        "## Classes", "| false |", "## Labellers", "| source | 10 |", "on 10 rows that several labelled",
        "People reach accuracy 1.0000",
    ):  # fmt: skip
        assert words in text
    facts = json.loads(read_artifact(result.version, "labels.json", workspace.settings))
    assert facts["agreement"]["labelled"] == {"1": 10, "2": 10, "source": 10}
    assert sum(one["rows"] for one in facts["classes"]["classes"]) == 1000


def test_version_is_made_again_after_people_said_more(life):
    workspace, result, folder = life
    assert ANNOTATIONS in result.version.lineage.source_versions
    say(workspace, folder, WRONG[:10], SAID + timedelta(hours=1), people=(3,))
    say(workspace, folder, WRONG[10:], NOW - timedelta(days=1))
    again = reproduce(workspace, KEY, result.version.number)
    assert again.is_identical, again.differences
    assert not [one for one in again.differences if one.startswith("data")]


def test_likely_errors_are_sought_with_the_champions_kind_of_estimator(life):
    workspace, result, _ = life
    model = workspace.model("letters")
    candidate = usual_candidate(workspace, model, KEY, {})
    assert result.verdict.outcome == "promote"
    assert (candidate.name, dict(candidate.params)) == (
        result.version.lineage.candidate, dict(result.version.lineage.params)
    )  # fmt: skip
    assert find_errors(workspace, model, AFTER).suspects > 20


def test_monitors_and_handovers_read_the_settled_label(life):
    workspace, _, _ = life
    model = workspace.model("letters")
    day = letters_of(FIRST)
    names = day["letter_id"]
    rows = pa.table({
        "letter_id": names, "event_time": pa.array(day["sent_at"], pa.timestamp("us", "UTC")),
        "received_at": pa.array(day["sent_at"], pa.timestamp("us", "UTC")),
        "request_id": [f"r{number}" for number in range(len(names))], "row": pa.array([0] * len(names), pa.int32()),
    })  # fmt: skip
    rows = rows.append_column("key", record_keys(model.spec, rows))
    changed = [name in WRONG[:10] for name in names]
    assert any(changed)
    for as_of, is_settled in ((BEFORE, False), (AFTER, True)):
        found, labels = read_outcomes(workspace.settings, model, rows, as_of).truths.find(rows["key"].combine_chunks())
        assert found.all()
        expected = [given()[name] != (turned and is_settled) for name, turned in zip(names, changed, strict=True)]
        assert labels.tolist() == [float(one) for one in expected]


def test_replay_sees_the_labels_of_its_instant(life):
    workspace, _, _ = life
    model, settings = workspace.model("letters"), workspace.settings
    basis = Versions(settings, model).now()
    assert ANNOTATIONS in dict(basis.versions)
    assert set(basis.open(settings, model).tables) == {"letters"}
    for instant, is_settled in ((BEFORE, False), (AFTER, True)):
        at = type(basis)(basis.versions, before=instant)
        rows = pa.table(at.open(settings, model).tables["letters"])
        labels = dict(zip(rows["letter_id"].to_pylist(), rows["is_spam"].to_pylist(), strict=True))
        assert all((labels[name] != given()[name]) == is_settled for name in WRONG[:10])
        assert len(labels) == 1000
    missed = type(basis)(basis.versions, before=BEFORE).count_between(settings, model, AFTER)
    assert missed[ANNOTATIONS] >= 20


def test_versions_of_before_anybody_spoke_have_the_sources_labels(life):
    workspace, _, _ = life
    model, settings = workspace.model("letters"), workspace.settings
    rows = pa.table(Inputs.open(settings, model, {"letters": 0}).tables["letters"])
    assert dict(zip(rows["letter_id"].to_pylist(), rows["is_spam"].to_pylist(), strict=True)) == given()
