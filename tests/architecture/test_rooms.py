"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ENGINE = sorted((PROJECT / "include/ratchet").rglob("*.py"))
DAGS = sorted((PROJECT / "dags").glob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def functions(path: Path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DAGS, ids=relative)
def test_dag_file_is_a_short_story(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 90


@pytest.mark.parametrize("path", ENGINE, ids=relative)
def test_module_and_functions_are_small(path):
    assert len(path.read_text().splitlines()) <= 320
    long = [node.name for node in functions(path) if (node.end_lineno or 0) - node.lineno + 1 > 60]
    assert long == []


@pytest.mark.parametrize("path", ENGINE, ids=relative)
def test_engine_reads_neither_the_clock_nor_the_environment(path):
    """Time and places come in as values; only the border (command line, tasks, stack, service) asks for them."""
    # The service notes when a request came and was answered; what it decides, it decides by the rows' own times.
    border = ("cli/", "orchestration/", "stack/", "registry/migrate.py", "serving/")
    if any(part in relative(path) for part in border):
        return
    found = re.findall(r"datetime\.now\(|datetime\.utcnow\(|date\.today\(|time\.time\(|os\.getenv\(", path.read_text())
    assert found in ([], ["time.time("] if path.name == "submit.py" else [])


@pytest.mark.parametrize("path", [*ENGINE, *DAGS], ids=relative)
def test_no_assert_outside_tests(path):
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
