"""Files of labelling tools, as they are and as they must not be."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ratchet.data.annotations import AnnotationTable
from include.ratchet.errors import AnnotationError
from include.ratchet.labels import doccano, label_studio
from include.ratchet.labels.intake import Intake, check_items, import_files
from include.ratchet.labels.tasks import Task
from tests.include.ratchet.labels.letters import NOW, SAID, doccano_lines, make_letters, studio_tasks
from tests.include.ratchet.labels.letters import given as given_labels

LETTER, OTHER = list(given_labels())[:2]
KEY = json.dumps([LETTER])


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    return make_letters(tmp_path_factory.mktemp("letters"))


@pytest.fixture
def take(landed, tmp_path):
    """Import a file of some content into a store of its own, and say what was kept."""
    model = landed.model("letters")
    table = AnnotationTable(landed.settings, "letters")

    def run(content, name="export.json", **intake):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(
            content if isinstance(content, str) else json.dumps(content)
        )
        return import_files(landed.settings, model, [path], Intake(**intake), NOW)

    yield run
    delta = table.open()
    if delta is not None:
        delta.delete()


def minimal(choice, annotator=14, **more):
    """JSON-MIN, as the SDK's `convert_to_json_min` writes it."""
    return {
        "text": "a letter", "letter_id": LETTER, "id": 6141, "is_spam": choice, "annotator": annotator,
        "annotation_id": 18047, "created_at": "2026-02-13T12:09:16.789536Z",
        "updated_at": "2026-02-13T12:09:17.000000Z", "lead_time": 1.849, "agreement": 100.0, **more,
    }  # fmt: skip


def kept(report):
    return [(one.key, one.labeller, one.value) for one in report.annotations]


def test_label_studio_json(take):
    report = take(studio_tasks([(LETTER, "true", {"id": 14, "email": "bo@post.test"}, SAID), (OTHER, None, 3, SAID)]))
    assert kept(report) == [(KEY, "bo@post.test", True)]
    assert report.annotations[0].annotated_at == SAID
    assert (report.added, report.known, report.open) == (1, 0, 1)
    assert report.annotations[0].tool == "label_studio"


def test_label_studio_without_annotations_or_with_predictions_only(take):
    task = studio_tasks([(LETTER, "true", 3, SAID)])[0]
    said = task["annotations"][0]["result"]
    assert take([{**task, "annotations": [], "predictions": [{"model_version": "m", "result": said}]}]).added == 0


def test_remark_alone_is_no_label(take):
    remark = {"type": "textarea", "value": {"text": ["hard"]}, "to_name": "row", "from_name": "why"}
    assert take(edited({"result": [remark]})).open == 1
    assert kept(take(edited({"result": [remark, result("true")]}))) == [(KEY, "3", True)]


def test_label_studio_number_of_a_user_and_a_single_task(take):
    assert kept(take(studio_tasks([(LETTER, "false", 3, SAID)])[0])) == [(KEY, "3", False)]


def test_label_studio_json_min(take):
    assert kept(take([minimal("true", "bo@post.test")])) == [(KEY, "bo@post.test", True)]


def test_label_studio_json_min_of_another_control(take):
    record = minimal("true", spam="false")
    del record["is_spam"]
    with pytest.raises(AnnotationError, match=r"item 1, annotation 18047.*'is_spam'.*--field"):
        take([record])
    assert kept(take([record], field="spam")) == [(KEY, "14", False)]


def test_cancelled_annotation_takes_back_what_its_labeller_said(take):
    later = SAID + timedelta(hours=1)
    take(studio_tasks([(LETTER, "true", 3, SAID)]))
    report = take(studio_tasks([(LETTER, None, 3, later), (LETTER, None, 4, later)]))
    assert kept(report) == [(KEY, "3", None)]


def test_doccano_file_of_a_user(take):
    report = take(doccano_lines({LETTER: True, OTHER: None}), "ana.jsonl", at=SAID)
    assert kept(report) == [(KEY, "ana", True)]
    assert (report.open, report.annotations[0].annotated_at, report.annotations[0].tool) == (1, SAID, "doccano")


def test_doccano_zip_of_users_who_worked_apart(take, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("admin.jsonl", doccano_lines({LETTER: True}))
        archive.writestr("annotator.jsonl", doccano_lines({LETTER: False}))
        archive.writestr("approver.jsonl", "")
    assert kept(take((tmp_path / "all.zip").read_bytes(), "all.zip")) == [
        (KEY, "admin", True),
        (KEY, "annotator", False),
    ]


def test_doccano_json(take):
    lines = [json.loads(line) for line in doccano_lines({LETTER: True}).splitlines()]
    assert kept(take(lines, "ana.json", tool="doccano")) == [(KEY, "ana", True)]


def test_shared_doccano_file_needs_a_labeller(take):
    with pytest.raises(AnnotationError, match=r"all.jsonl, line 1: found None; expected who labelled.*--labeller"):
        take(doccano_lines({LETTER: True}), "all.jsonl")
    assert kept(take(doccano_lines({LETTER: True}), "all.jsonl", labeller="crowd")) == [(KEY, "crowd", True)]


def test_file_without_times_read_again_adds_only_what_changed(take):
    take(doccano_lines({LETTER: True, OTHER: True}), "ana.jsonl", at=SAID)
    report = take(doccano_lines({LETTER: True, OTHER: False}), "ana.jsonl")
    assert kept(report) == [(json.dumps([OTHER]), "ana", False)]
    assert report.known == 1


def edited(changes, choice="true"):
    task = studio_tasks([(LETTER, choice, 3, SAID)])[0]
    task["annotations"][0] |= changes
    return [task]


def result(*choices, name="is_spam"):
    return {"id": "x", "type": "choices", "value": {"choices": list(choices)}, "to_name": "row", "from_name": name}


DOUBLE = studio_tasks([(LETTER, "true", 3, SAID), (LETTER, "false", 3, SAID)])
HOSTILE = {
    "not JSON": ("{nope", "export.json", r"export.json: found '?b?'?\{nope'?; expected JSON"),
    "not text": (b"\xff\xfe\x00", "export.json", r"export.json: found .*expected JSON"),
    "deep": ("[" * 100_000, "export.json", r"export.json: found .*expected JSON"),
    "a number": ("7", "export.json", r"item 1: found 7; expected a task"),
    "no export": ([{"data": {"letter_id": LETTER}}], "export.json", r"item 1: found \['data'\].*`annotations`"),
    "no data": ([{"annotations": []}], "export.json", r"task 1, data: found None; expected the task's data"),
    "annotations": ([{"annotations": 3, "data": {}}], "export.json", r"task 1: found 3; expected a list of annot"),
    "annotation": ([{"annotations": [3], "data": {}}], "export.json", r"annotation 1: found 3; expected an annotation"),
    "results": (edited({"result": "x"}), "export.json", r"annotation 18047: found 'x'; expected a list under `result`"),
    "two choices": (edited({"result": [result("true", "false")]}), "export.json", r"\['true', 'false'\].*one label"),
    "two controls": (edited({"result": [result("true"), result("true", name="b")]}), "export.json", r"Name it with"),
    "boxes": (edited({"result": [{"type": "rectanglelabels", "value": {}}]}), "export.json",
              r"found \['rectanglelabels'\]; expected a result of type choices"),
    "a result": (edited({"result": [7]}), "export.json", r"annotation 18047: found 7; expected a result"),
    "unknown class": (edited({}, "perhaps"), "export.json", r"found 'perhaps'; expected one of false, true. Rename"),
    "unknown key": (studio_tasks([("9999-000", "true", 3, SAID)]), "export.json", r'"9999-000".*has landed'),
    "no key": ([{"annotations": edited({})[0]["annotations"], "data": {"text": "x"}}], "export.json",
               r"task 1, annotation 18047: found \['text'\]; expected ratchet_key, or the keys letter_id"),
    "bad key": ([{"annotations": edited({})[0]["annotations"], "data": {"ratchet_key": "[1, 2]"}}], "export.json",
                r"expected ratchet_key with a JSON list of letter_id"),
    "another model": ([{"annotations": edited({})[0]["annotations"],
                        "data": {"ratchet_key": KEY, "ratchet_model": "parcels"}}], "export.json",
                      r"found 'parcels'; expected a task of letters"),
    "no time": (edited({"updated_at": "soon"}), "export.json", r"found 'soon'; expected a time such as"),
    "the future": (studio_tasks([(LETTER, "true", 3, NOW + timedelta(days=1))]), "export.json", r"not after 2026-02-2"),
    "twice": (DOUBLE, "export.json",
              r"task 6142.*found 'a second label of 3.*expected one, as in export.json, task 6141"),
    "nobody": (edited({"completed_by": None}), "export.json", r"found None; expected who labelled"),
    "the source": (edited({"completed_by": "source"}), "export.json", r"found 'source'; expected who labelled, and"),
    "a line": ('{"id": 1, "label": []\n', "ana.jsonl", r"ana.jsonl, line 1: found .*expected JSON"),
    "no label": ('\n{"id": 1, "text": "x"}\n', "ana.jsonl", r"ana.jsonl, line 2: found \['id', 'text'\].*`label`"),
    "spans": ('{"id": 1, "label": [[0, 1, "true"]]}', "ana.jsonl", r"expected the names of labels. Spans"),
    "no zip": (b"PK no", "all.zip", r"all.zip: found b'PK no'; expected a zip"),
    "an ending": ("x", "labels.csv", r"found '.csv'; expected the ending .json, .jsonl or .zip. Name the tool"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_whole_with_what_and_where(take, landed, name):
    content, file, message = HOSTILE[name]
    with pytest.raises(AnnotationError, match=message):
        take(content, file)
    assert AnnotationTable(landed.settings, "letters").all() == []


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["true", "choices", "0001-01-01T00:00:00+14:00", KEY, "is_spam", LETTER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["data", "annotations", "result", "type", "value", "choices", "label", "id", "ratchet_key", "letter_id",
         "annotation_id", "is_spam", "updated_at", "completed_by", "annotator", "from_name"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=JUNK, place=st.sampled_from(["task", "data", "annotation", "result", "value", "record", "file"]))
def test_whatever_a_file_holds_is_taken_or_refused_in_words(landed, junk, place):
    task = studio_tasks([(LETTER, "true", 3, SAID)])[0]
    said = task["annotations"][0]
    parts = {
        "task": junk, "data": {**task, "data": junk}, "annotation": {**task, "annotations": [junk]},
        "result": {**task, "annotations": [{**said, "result": [junk]}]},
        "value": {**task, "annotations": [{**said, "result": [{**said["result"][0], "value": junk}]}]},
        "record": minimal(junk, junk), "file": junk,
    }  # fmt: skip
    content = json.dumps(parts[place] if place == "file" else [parts[place]]).encode()
    for read in (lambda: label_studio.read_items("x.json", content, "is_spam"),
                 lambda: doccano.read_items("x.jsonl", content)):  # fmt: skip
        found = []
        with suppress(AnnotationError):
            found = check_items(landed.settings, landed.model("letters"), read(), Intake(), NOW)[0]
        assert all(one.key == KEY and one.value in (True, False, None) for one in found)


def test_file_that_is_not_there(landed, tmp_path):
    with pytest.raises(AnnotationError, match=r"gone.json: cannot be read \(No such file"):
        import_files(landed.settings, landed.model("letters"), [tmp_path / "gone.json"], Intake(), NOW)


TASK = Task("m", '["1", 2, "2026-01-01T00:00:00+00:00"]', "price: 3 < 4\nshop: \"été\" & 'x'", "true")


def test_label_studio_tasks_carry_keys_and_a_suggestion():
    found = json.loads(label_studio.write_tasks([TASK], "is_spam", "choices"))[0]
    assert found["data"] == {"ratchet_model": "m", "ratchet_key": TASK.key, "text": TASK.text}
    assert found["predictions"][0]["result"] == [
        {"from_name": "is_spam", "to_name": "row", "type": "choices", "value": {"choices": ["true"]}}
    ]
    number = json.loads(label_studio.write_tasks([Task("m", "[1]", "x", "2.5")], "metres", "number"))[0]
    assert number["predictions"][0]["result"][0]["value"] == {"number": 2.5}
    assert "predictions" not in json.loads(label_studio.write_tasks([Task("m", "[1]", "x")], "m", "number"))[0]


@pytest.mark.parametrize(("classes", "tag"), [(['<"&>', "b"], "Choices"), (None, "Number")])
def test_label_studio_interface_is_xml_that_names_every_class(classes, tag):
    from xml.etree import ElementTree

    tree = ElementTree.fromstring(label_studio.write_config("is_spam", classes))  # noqa: S314 - our own text
    control = tree.find(tag)
    assert (control.get("name"), control.get("toName")) == ("is_spam", tree.find("Text").get("name"))
    assert [one.get("value") for one in control] == (classes or [])


def test_number_of_label_studio_is_read_in_both_formats():
    number = {"id": "x", "type": "number", "value": {"number": 2.5}, "to_name": "row", "from_name": "metres"}
    task = {"id": 1, "data": {"id": "a"}, "annotations": [{"id": 2, "result": [number], "completed_by": 3}]}
    small = {"id": 1, "annotation_id": 2, "metres": [{"number": 2.5}], "annotator": 3}
    for content in (task, small):
        found = label_studio.read_items("x.json", json.dumps([content]).encode(), "metres")
        assert [(one.choices, one.labeller, one.annotated_at) for one in found] == [((2.5,), "3", None)]


def test_several_choices_of_json_min_stay_several():
    found = label_studio.read_items("x.json", json.dumps([minimal({"choices": ["a", "b"]})]).encode(), "is_spam")
    assert found[0].choices == ("a", "b")
    assert found[0].annotated_at == datetime(2026, 2, 13, 12, 9, 17, tzinfo=UTC)


def test_doccano_tasks_are_one_line_each():
    lines = doccano.write_tasks([TASK, Task("m", "[1]", "x")]).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"text": TASK.text, "label": ["true"], "ratchet_model": "m", "ratchet_key": TASK.key},
        {"text": "x", "label": [], "ratchet_model": "m", "ratchet_key": "[1]"},
    ]  # fmt: skip
