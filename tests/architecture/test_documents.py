"""What the documents show is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.ratchet.cli.__main__ import app
from include.ratchet.spec.scaffold import TEMPLATE, make_model

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
README = (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    targets = [target for target in re.findall(r"\]\(([^)#]+)", path.read_text()) if not target.startswith("http")]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(path):
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"\./ratchet ([a-z]+)", path.read_text())) <= known


def test_readme_shows_the_files_of_a_new_model(tmp_path):
    assert (make_model(tmp_path, "order_returns") / "model.yaml").read_text().strip() in README
    shown = re.search(r"def features\(.*?\n```", README, re.DOTALL).group().removesuffix("```")
    assert shown in re.sub(r'    """.*?"""\n', "", (TEMPLATE / "features.py").read_text())
    for path in TEMPLATE.iterdir():
        if path.is_file():
            assert f"| `{path.name}` |" in README
