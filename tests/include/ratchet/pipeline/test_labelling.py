"""Labels of two people over a model's life: taken in, settled, doubted, sent out, decided on, and kept."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from include.ratchet.data.annotations import END, AnnotationTable
from include.ratchet.errors import AnnotationError
from include.ratchet.labels import doccano, label_studio
from include.ratchet.labels.intake import Intake
from include.ratchet.labels.queue import ReviewQueue
from include.ratchet.pipeline.ingest import validate_landed
from include.ratchet.pipeline.labelling import (
    choose_tasks,
    classes_of,
    find_errors,
    import_labels,
    read_queue,
    read_row,
    review_row,
    summarise_labels,
)
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import build_set
from tests.include.ratchet.labels.letters import (
    AFTER,
    BEFORE,
    KEY,
    NOW,
    SAID,
    UNLABELLED,
    doccano_lines,
    given,
    make_letters,
    planted,
    studio_tasks,
)


@pytest.fixture
def workspace(tmp_path):
    return make_letters(tmp_path)


@pytest.fixture
def model(workspace):
    return workspace.model("letters")


def snapshot(workspace, as_of):
    return build_set(workspace, TrainingRequest(KEY, "test", as_of))


def labels_of(found):
    table = found.read()
    return dict(zip(table["letter_id"].to_pylist(), table["is_spam"].to_pylist(), strict=True))


def wrong_letters(count):
    return [json.loads(key)[0] for key in sorted(planted())[:count]]


def write_files(tmp_path, labels, when=SAID):
    """Ana works in doccano, which does not say when, Bo in Label Studio."""
    ana, bo = tmp_path / "ana.jsonl", tmp_path / "bo.json"
    ana.write_text(doccano_lines(labels))
    words = [(name, str(label).lower(), {"id": 14, "email": "bo@post.test"}, when) for name, label in labels.items()]
    bo.write_text(json.dumps(studio_tasks(words)))
    return [ana, bo]


def test_labels_of_two_people_from_files_to_a_corrected_label(workspace, model, tmp_path):
    truth, wrong = planted(), wrong_letters(10)
    assert len(truth) > 40
    first = snapshot(workspace, BEFORE)
    said = {name: truth[json.dumps([name])] for name in wrong}
    report = import_labels(workspace, model, write_files(tmp_path, said), Intake(at=SAID))
    assert (report.added, report.labellers) == (20, {"ana": 10, "bo@post.test": 10})

    # What was said later changes no training set of before, and every one of after.
    assert snapshot(workspace, BEFORE).id == first.id
    later = snapshot(workspace, AFTER)
    assert {name: labels_of(later)[name] for name in wrong} == said
    assert {name for name, label in labels_of(later).items() if label != given()[name]} == set(wrong)
    times = later.read().filter(later_rows(later, wrong))["_label_available_time"].to_pylist()
    assert times == [SAID] * len(wrong)

    # The planted errors that nobody has corrected yet are found.
    found = find_errors(workspace, model, AFTER)
    queue = read_queue(workspace, model)
    left = {key: label for key, label in truth.items() if json.loads(key)[0] not in wrong}
    hits = [one for one in queue if one.key in left]
    assert len(hits) / len(queue) >= 0.9
    assert len(hits) / len(left) >= 0.85
    assert all(one.suggested == left[one.key] and one.given != one.suggested for one in hits)
    assert found.added == len(queue) == found.suspects
    assert find_errors(workspace, model, AFTER).added == 0

    # One is labelled again, as a review, in the tool that the queue is sent out to.
    worst = queue[0]
    task = choose_tasks(workspace, model, "queue", 1, suggest=False)[0]
    assert task.key == worst.key
    sent = json.loads(label_studio.write_tasks([task], "is_spam", "choices"))
    back = studio_tasks([("", str(left[worst.key]).lower(), 3, AFTER)])
    back[0]["data"] = sent[0]["data"]
    (tmp_path / "back.json").write_text(json.dumps(back))
    import_labels(workspace, model, [tmp_path / "back.json"], Intake(is_review=True))
    name = json.loads(worst.key)[0]
    corrected = snapshot(workspace, AFTER + timedelta(days=1))
    assert labels_of(corrected)[name] == left[worst.key]
    assert labels_of(snapshot(workspace, AFTER))[name] == worst.given

    # What was said before is kept, and the row does not come back.
    row = read_row(workspace, model, name)
    assert [(one.labeller, one.value, one.is_review) for one in row.said] == [("3", left[worst.key], True)]
    assert row.ruling.voices == {"source": worst.given}
    assert (row.review.state, row.review.decided, row.review.decided_by) == ("corrected", left[worst.key], "3")
    find_errors(workspace, model, AFTER + timedelta(days=1))
    assert worst.key not in {one.key for one in read_queue(workspace, model)}


def later_rows(found, names):
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(found.read()["letter_id"], pa.array(names))


def test_model_whose_labels_are_all_peoples(tmp_path):
    """The source gives no label at all: no row can be learnt from until somebody has said something."""
    workspace = make_letters(tmp_path, sources=UNLABELLED)
    model = workspace.model("letters")
    validate_landed(workspace, model, ["2026-02-01"], "test")
    assert snapshot(workspace, AFTER).rows == 0
    labels = dict(list(given().items())[:60])
    (tmp_path / "ana.jsonl").write_text(doccano_lines(labels))
    import_labels(workspace, model, [tmp_path / "ana.jsonl"], Intake(at=SAID))
    assert labels_of(snapshot(workspace, AFTER)) == labels
    assert snapshot(workspace, BEFORE).rows == 0


def test_changed_mind_keeps_the_earlier_word(workspace, model, tmp_path):
    name = wrong_letters(1)[0]
    for choice, when in ((True, SAID), (False, AFTER)):
        words = [(name, str(choice).lower(), who, when) for who in (1, 2)]
        (tmp_path / "export.json").write_text(json.dumps(studio_tasks(words)))
        import_labels(workspace, model, [tmp_path / "export.json"], Intake())
    day = timedelta(days=1)
    assert [labels_of(snapshot(workspace, at))[name] for at in (SAID + day / 2, AFTER + day)] == [True, False]
    row = read_row(workspace, model, name)
    assert [(one.labeller, one.value) for one in row.said] == [("1", True), ("2", True), ("1", False), ("2", False)]
    versions = AnnotationTable(workspace.settings, "letters").open().history()
    assert len(versions) == 2


def test_second_import_adds_nothing(workspace, model, tmp_path):
    files = write_files(tmp_path, dict.fromkeys(wrong_letters(3), True))
    assert import_labels(workspace, model, files, Intake()).added == 6
    before = AnnotationTable(workspace.settings, "letters").version()
    again = import_labels(workspace, model, files, Intake())
    assert (again.added, again.known) == (0, 6)
    assert AnnotationTable(workspace.settings, "letters").version() == before


def test_bad_item_at_the_end_of_the_last_file_leaves_nothing_behind(workspace, model, tmp_path):
    files = write_files(tmp_path, dict.fromkeys(wrong_letters(3), True))
    files[1].write_text(json.dumps([*json.loads(files[1].read_text()), *studio_tasks([("nobody", "true", 1, SAID)])]))
    with pytest.raises(AnnotationError, match=r"bo.json, task 6141, annotation 18047: found .*nobody.*Ingest its day"):
        import_labels(workspace, model, files, Intake())
    assert AnnotationTable(workspace.settings, "letters").all(END) == []


def test_conflict_has_no_label_until_a_person_decides(workspace, model, tmp_path):
    name = wrong_letters(1)[0]
    (tmp_path / "ana.jsonl").write_text(doccano_lines({name: not given()[name]}))
    import_labels(workspace, model, [tmp_path / "ana.jsonl"], Intake(at=SAID))
    assert name not in labels_of(snapshot(workspace, AFTER))
    assert summarise_labels(workspace, model, AFTER).unresolved == {"a tie of 1 to 1": 1}
    assert find_errors(workspace, model, AFTER).conflicts == 1
    first = read_queue(workspace, model)[0]
    assert (first.reason, first.key) == ("conflict", json.dumps([name]))
    with pytest.raises(AnnotationError, match=r"found no label of .* to confirm; expected one of false, true"):
        review_row(workspace, model, name, None, "cleo")
    decided = review_row(workspace, model, name, "true", "cleo")
    assert (decided.state, decided.decided, decided.decided_by, decided.decided_at) == ("corrected", True, "cleo", NOW)
    assert labels_of(snapshot(workspace, NOW + timedelta(days=1)))[name] is True


def test_confirmed_label_does_not_come_back(workspace, model):
    find_errors(workspace, model, AFTER)
    worst = read_queue(workspace, model)[0]
    decided = review_row(workspace, model, json.loads(worst.key)[0], None, "cleo")
    assert (decided.state, decided.decided) == ("confirmed", worst.given)
    assert find_errors(workspace, model, NOW + timedelta(days=1)).added == 0
    assert worst.key not in {one.key for one in ReviewQueue(workspace.settings, "letters").all("open")}
    # A row that nobody doubted can be confirmed as well; it was in no queue.
    assert review_row(workspace, model, "0210-000", None, "cleo") is None
    assert read_row(workspace, model, "0210-000").ruling.value == given()["0210-000"]


@pytest.mark.parametrize("suggest", [True, False])
def test_export_round_trip_loses_no_row(workspace, model, tmp_path, suggest):
    find_errors(workspace, model, AFTER)
    tasks = choose_tasks(workspace, model, "queue", 5, suggest=suggest)
    assert len(tasks) == 5
    assert all("is_spam" not in task.text and "links: " in task.text for task in tasks)
    lines = [json.loads(line) for line in doccano.write_tasks(tasks).splitlines()]
    assert all(len(line["label"]) == suggest for line in lines)
    # Doccano keeps what is not text or label as meta, and gives it back beside its own columns.
    back = [{"id": number, **line, "label": ["true"], "Comments": []} for number, line in enumerate(lines)]
    (tmp_path / "dora.jsonl").write_text("".join(json.dumps(line) + "\n" for line in back))
    assert import_labels(workspace, model, [tmp_path / "dora.jsonl"], Intake()).added == 5
    said = AnnotationTable(workspace.settings, "letters").all()
    assert {one.key for one in said} == {task.key for task in tasks}


def test_sample_is_of_rows_that_nobody_has_labelled(workspace, model, tmp_path):
    name = wrong_letters(1)[0]
    (tmp_path / "ana.jsonl").write_text(doccano_lines({name: True}))
    import_labels(workspace, model, [tmp_path / "ana.jsonl"], Intake())
    tasks = choose_tasks(workspace, model, "sample", 5000, suggest=False)
    assert len(tasks) == len(given()) - 1
    assert json.dumps([name]) not in {task.key for task in tasks}
    again = choose_tasks(workspace, model, "sample", 3, suggest=False, seed=1)
    assert again == choose_tasks(workspace, model, "sample", 3, suggest=False, seed=1)


def test_summary_names_classes_people_and_what_they_reach(workspace, model, tmp_path):
    truth = dict(list(given().items())[:40])
    files = write_files(tmp_path, truth)
    other = {name: label != (place < 4) for place, (name, label) in enumerate(truth.items())}
    files[0].write_text(doccano_lines(other))
    import_labels(workspace, model, files, Intake(at=SAID))
    summary = summarise_labels(workspace, model, AFTER)
    facts = summary.facts
    assert summary.problem == ""
    assert [one.name for one in facts.balance.classes] == ["false", "true"]
    assert sum(one.rows for one in facts.balance.classes) == len(given())
    assert facts.agreement.labelled == {"ana": 40, "bo@post.test": 40, "source": 40}
    assert facts.agreement.rows == 40
    assert facts.human.metric == "accuracy"
    assert facts.human.value.value == pytest.approx(0.9)
    assert json.loads(json.dumps(summary.to_dict()))["facts"]["human"]["rows"] == 40
    assert classes_of(workspace, model) == (False, True)


def test_summary_without_a_test_part_says_why(workspace, model):
    summary = summarise_labels(workspace, model, NOW)
    assert "the validation part is empty" in summary.problem
    assert [one.test_rows for one in summary.facts.balance.classes] == [0, 0]


def test_without_annotations_the_spec_says_what_to_add(tmp_path):
    workspace = make_letters(tmp_path, None)
    model = workspace.model("letters")
    assert summarise_labels(workspace, model, AFTER).facts.agreement is None
    with pytest.raises(AnnotationError, match=r"Add `annotations: \{rule: majority\}` under `label`"):
        find_errors(workspace, model, AFTER)


def test_unknown_row_is_named_with_what_was_expected(workspace, model):
    with pytest.raises(AnnotationError, match="found no row with letter_id 'x'"):
        review_row(workspace, model, "x", "true", "cleo")
    with pytest.raises(AnnotationError, match="found 'maybe'; expected one of false, true"):
        review_row(workspace, model, wrong_letters(1)[0], "maybe", "cleo")
