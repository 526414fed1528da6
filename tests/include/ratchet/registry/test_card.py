"""A card says what is true and lets nothing of what users or data supply become markup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.evaluation.gates import judge
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.evaluation.slices import SliceResult
from include.ratchet.labels.agreement import Agreement
from include.ratchet.labels.balance import Balance, ClassCount
from include.ratchet.labels.facts import LabelFacts
from include.ratchet.labels.human import HumanLevel
from include.ratchet.registry.card import render_html, render_markdown
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.plots import draw_plots
from include.ratchet.spec import ModelKey
from tests.include.ratchet.evaluation.test_gates import GOOD, PLAIN, spec

LINEAGE = Lineage(
    key=ModelKey("orders"), as_of=datetime(2020, 3, 1, tzinfo=UTC), window_start=datetime(2020, 1, 1, tzinfo=UTC),
    snapshot="abc", source_versions={"orders": 4}, features=("x", "shop"), candidate="logistic", params={"C": 0.123456},
    search={"strategy": "tpe", "trials": 6}, seed=1, spec_hash="s", code_hash="c", lock_hash="l", git_commit="deadbeef",
    is_dirty=True, python="3.11",
)  # fmt: skip
LEARNING = [{"rows": 100, "seen": 0.8, "unseen": 0.6}, {"rows": 900, "seen": 0.75, "unseen": 0.7}]
SAFE = {"html", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul",
        "li", "img", "br"}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def card(tmp_path, labels=None, **changes):
    one = spec(tmp_path)
    verdict = judge(one, GOOD, PLAIN)
    return render_markdown(one, LINEAGE, replace(GOOD, **changes), verdict, {"rows": 3000}, ["plots/a.png"], labels)


def facts_of(name):
    """Labels of a rare class and a labeller of that name."""
    classes = (ClassCount("no", 970, 0.97, 200, 9.5), ClassCount(name, 30, 0.03, 5, 9.5))
    level = Interval(0.9, 0.8, 0.95)
    return LabelFacts(
        Balance(classes, 50), Agreement({name: 40, "source": 40}, 12, None, ()), HumanLevel("f1", 12, level, ())
    )


def test_card_tells_data_metrics_gates_slices_limits_and_lineage(tmp_path):
    text = card(tmp_path)
    for words in ("# orders", "Orders that come back.", "0.7000 | 0.6800 to 0.7200", "## Gates: promote",
                  "champion (version 3)", "shop = web", "## Limits", "C = 0.1235",
                  "deadbeef (with uncommitted changes)",
                  "Equalised odds differ by 0.0500", "| training rows | 3000 |",
                  "![plots/a.png](plots/a.png)"):  # fmt: skip
        assert words in text


@given(name=st.text(min_size=1, max_size=60) | st.sampled_from([
    "<script>alert(1)</script>", "](javascript:alert(1))", "| a | b |\n| - | - |", "![x](http://evil/x.png)",
    "`</style><img src=x onerror=alert(1)>`", "&lt;b&gt;", "\\<b\\>",
    "_0_", "__a__ _b_",
]))  # fmt: skip
def test_hostile_names_stay_text(tmp_path_factory, name):
    hostile = (SliceResult(name, 900, Interval(0.7, 0.6, 0.8), None),)
    page = render_html(card(tmp_path_factory.mktemp("m"), facts_of(name), slices=hostile), name)
    tags = Tags()
    tags.feed(page)
    assert tags.found <= SAFE
    assert tags.attributes <= {"lang", "charset", "name", "content", "src", "alt"}


def test_card_tells_of_labels(tmp_path):
    text = card(tmp_path, facts_of("ana"))
    for words in ("| ana | 30 | 3.0% | 5 | 10 |", "Rare, with fewer than 50 test rows: ana.", "| source | 40 |",
                  "Alpha is not defined, on 12 rows that several labelled.",
                  "People reach f1 0.9000 &#91;0.8000, 0.9500&#93; against each other, on 12 rows."):  # fmt: skip
        assert words in text
    assert "## Classes" not in card(tmp_path)


def test_plots_are_pictures_and_the_same_every_time():
    trials = [{"number": 0, "candidate": "logistic", "value": 0.7}, {"number": 1, "candidate": "b", "value": None}]
    curve = ({"rows": 10.0, "score": 0.2, "frequency": 0.3}, {"rows": 10.0, "score": 0.6, "frequency": 0.5})
    report = replace(GOOD, calibration=curve)
    plots = draw_plots(report, trials, {"x": 0.1, "shop": 0.02}, LEARNING)
    assert set(plots) == {f"plots/{name}.png" for name in ("search", "learning", "reliability", "importance", "slices")}
    assert all(content.startswith(b"\x89PNG") for content in plots.values())
    assert plots == draw_plots(report, trials, {"x": 0.1, "shop": 0.02}, LEARNING)
