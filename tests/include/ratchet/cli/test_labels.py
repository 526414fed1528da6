"""The commands for labels, as people and scripts meet them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.ratchet.cli.__main__ import app
from include.ratchet.cli.labels import labels
from tests.include.ratchet.labels.letters import doccano_lines, given, make_letters, planted, studio_tasks

COMMANDS = sorted(one.name for one in labels.registered_commands)
LETTER = json.loads(sorted(planted())[0])[0]
AS_OF = "2026-02-14"


@pytest.fixture
def ratchet(tmp_path, monkeypatch):
    """Run a command in an installation with letters, with files beside it."""
    workspace = make_letters(tmp_path)
    monkeypatch.setenv("RATCHET_HOME", str(workspace.settings.home))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(workspace.settings.models_dir))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words, as_json=True):
        done = CliRunner().invoke(app, ["labels", *words, *(["--json"] if as_json else [])])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if as_json else done.output

    return run


def test_every_command_is_there():
    assert COMMANDS == ["export", "find", "history", "import", "queue", "review", "show"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_says_how_scripts_read_it(name):
    shown = CliRunner().invoke(app, ["labels", name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"Example: ./ratchet labels {name}" in shown.output
    assert "--json" in shown.output


def test_a_row_from_the_queue_to_a_decision(ratchet, tmp_path):
    (tmp_path / "ana.jsonl").write_text(doccano_lines({LETTER: not given()[LETTER]}))
    took = ratchet("import", "letters", "ana.jsonl", "--at", "2026-02-13")
    assert took == {"added": 1, "known": 0, "open": 0, "labellers": {"ana": 1}}
    found = ratchet("find", "letters", "--as-of", AS_OF)
    assert (found["conflicts"], found["rows"]) == (1, 999)
    queue = ratchet("queue", "letters", "--limit", "1000")
    assert len(queue) == found["added"]
    assert queue[0]["key"] == json.dumps([LETTER])
    decided = ratchet("review", "letters", LETTER, "--value", "true", "--by", "cleo")
    assert (decided["review"]["state"], decided["by"]) == ("corrected", "cleo")
    told = ratchet("history", "letters", LETTER)
    assert [one["labeller"] for one in told["said"]] == ["ana", "cleo"]
    assert (told["ruling"]["value"], told["review"]["decided_by"]) == (True, "cleo")
    shown = ratchet("show", "letters", "--as-of", AS_OF)
    assert shown["queue"] == {"corrected": 1, "open": len(queue) - 1}
    assert shown["facts"]["agreement"]["labelled"] == {"ana": 1, "source": 1}


def test_people_read_the_same_in_words(ratchet, tmp_path):
    words = [(name, str(label).lower(), who, _at()) for name, label in list(given().items())[:8] for who in (1, 2)]
    (tmp_path / "export.json").write_text(json.dumps(studio_tasks(words)))
    assert "16 labels added (1 8, 2 8), 0 known already, 0 left open" in ratchet(
        "import", "letters", "export.json", as_json=False
    )
    shown = ratchet("show", "letters", "--as-of", AS_OF, as_json=False)
    for said in ("effective test rows", "labellers: 1 8, 2 8, source 8", "alpha of people: 1.0000",
                 "people reach accuracy 1.0000", "1 and 2: 1.0000"):  # fmt: skip
        assert said in shown
    assert "nothing waits; ./ratchet labels find letters" in ratchet("queue", "letters", as_json=False)
    ratchet("find", "letters", "--as-of", AS_OF)
    assert "likely error" in ratchet("queue", "letters", as_json=False)
    assert "nobody has said anything but the source" in ratchet("history", "letters", "0210-000", as_json=False)
    assert "label true since" in ratchet("history", "letters", _spam(), as_json=False)


def _spam():
    return next(name for name, label in list(given().items())[:8] if label)


def _at():
    from tests.include.ratchet.labels.letters import SAID

    return SAID


@pytest.mark.parametrize(
    ("name", "files"), [("tasks.jsonl", ["tasks.jsonl"]), ("tasks.json", ["tasks.json", "tasks.xml"])]
)
def test_export_writes_what_the_tool_imports(ratchet, tmp_path, name, files):
    done = ratchet("export", "letters", name, "--rows", "sample", "--count", "3")
    assert done == {"tasks": 3, "files": files}
    assert all((tmp_path / file).read_text() for file in files)


def test_export_to_another_ending_is_refused(ratchet):
    done = CliRunner().invoke(app, ["labels", "export", "letters", "tasks.csv"])
    assert done.exit_code == 2
    assert "expected a name that ends with .json" in done.output
