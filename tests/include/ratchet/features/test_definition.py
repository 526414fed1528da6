from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.ratchet.errors import SpecError
from include.ratchet.features import feature_names, feature_query
from tests.include.ratchet.features.rides import FEATURES, HEAD, make_model

PROJECT = Path(__file__).parents[4]


def test_names_keep_the_declared_order(tmp_path: Path) -> None:
    code = HEAD + "def features(t):\n    return Features(b=t.rows.seats, a=t.rows.zone, c=1 + t.rows.seats)\n"
    assert feature_names(make_model(tmp_path, code)) == ("b", "a", "c")


def test_the_query_is_the_same_text_from_every_process(tmp_path: Path) -> None:
    model = make_model(tmp_path)
    script = (
        "import sys; from pathlib import Path; from include.ratchet.spec import load_model; "
        "from include.ratchet.features import feature_query; "
        "sys.stdout.write(feature_query(load_model(Path(sys.argv[1]))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script, str(model.folder)],
            check=True, capture_output=True, text=True, cwd=PROJECT, env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert texts == {feature_query(model)}


@pytest.mark.parametrize(
    ("old", "new"),
    [("> 20", "> 21"), ('over="1h"', 'over="2h"'), ("digits=2", "digits=3"), ("4 - t.rows", "5 - t.rows")],
)
def test_the_query_says_every_difference(old: str, new: str, tmp_path: Path) -> None:
    before = feature_query(make_model(tmp_path / "a"))
    assert old in FEATURES
    assert feature_query(make_model(tmp_path / "b", FEATURES.replace(old, new))) != before


def test_the_query_does_not_change_with_comments(tmp_path: Path) -> None:
    before = feature_query(make_model(tmp_path / "a"))
    assert feature_query(make_model(tmp_path / "b", f"# why\n{FEATURES}")) == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("Features(x=t.rows.zoen)", "no column 'zoen'; .* did you mean 'zone'"),
        ("Features(x=t.rows.colour)", "no column 'colour'; .* Declare it under columns"),
        ("Features(x=t.storms.mm)", "no table 'storms'; expected one of rows, history, rain, posts, zones"),
        ("Features(x=latest(t.rain, on='zone').m)", "no column 'm'; expected one of zone, seen_at, mm"),
        ("Features(x=latest(t.rain, on='zon').mm)", "no column 'zon'"),
        ("Features(x=latest(t.zones, on='zone').size)", "latest: the table has no column _available_time"),
        ("Features(x=rolling(t.zones, by='zone', over='1h').count())", "rolling: the table has no column"),
        ("Features(x=lookup(t.rain, on='zone').mm)", "lookup: the table has a history"),
        ("Features(x=rolling(t.history, by='zone', over='1 hour').count())", "over: found '1 hour'; expected a whole"),
        ("Features(x=rolling(t.history, by='zone', over='1h').mean('driver'))", "'driver' is string; expected a bool"),
        ("Features(x=latest(t.rain, on={'seats': 'zone'}).mm)", "key 'seats' is int64, and string in the table"),
        ("Features(x=t.rows.at)", "its type is timestamp.*; expected a number, a boolean or a string"),
        ("Features(x=latest(t.rain).mm)", r":5: TypeError: latest\(\) missing 1 required positional argument: 'on'"),
        ("Features(x=3)", "feature 'x': found int; expected an Ibis expression"),
        ("Features(x=t.rows.zone - 3)", "feature 'x': .*Error"),
        ("Features(is_late=t.rows.zone)", "feature 'is_late': the name is taken"),
        ("Features(_x=t.rows.zone)", "feature '_x': the name is taken"),
        ("Features(x=query(lambda rows: rows.select('zone')).zone)", "expected `_row` among them"),
        ("Features()", "expected Features"),
        ("{'x': t.rows.zone}", "expected Features"),
    ],
)
def test_a_wrong_definition_says_what_and_where(body: str, said: str, tmp_path: Path) -> None:
    model = make_model(tmp_path, f"{HEAD}def features(t):\n    return {body}\n")
    with pytest.raises(SpecError, match=rf"(?s)features\.py.*{said}"):
        feature_names(model)


def test_expressions_may_be_keys_and_conditions(tmp_path: Path) -> None:
    code = HEAD + (
        "import ibis\n\ndef features(t):\n"
        "    by = [_.zone.upper(), _.seats]\n"
        "    return Features(\n"
        "        n=rolling(t.history, by=by, over='3h').count(_.fare > 3),\n"
        "        wet=ibis.ifelse(latest(t.rain, on='zone').mm > 2, 'wet', 'dry'),\n"
        "    )\n"
    )
    assert feature_names(make_model(tmp_path, code)) == ("n", "wet")
