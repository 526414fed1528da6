"""A card says what is true and lets nothing of what users or data supply become markup."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.dependencies.changes import Change
from include.ratchet.dependencies.feedback import Band, Feedback
from include.ratchet.dependencies.necessity import Necessity, Need
from include.ratchet.dependencies.reliability import Reliability, Share
from include.ratchet.dependencies.report import DependencyReport
from include.ratchet.dependencies.ties import Cluster, Ties
from include.ratchet.dependencies.usage import Unused
from include.ratchet.evaluation.gates import judge
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.evaluation.parity import measure_parity
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.slices import SliceResult
from include.ratchet.evaluation.sources import Finding
from include.ratchet.evaluation.thresholds import plan_thresholds
from include.ratchet.labels.agreement import Agreement
from include.ratchet.labels.balance import Balance, ClassCount
from include.ratchet.labels.facts import LabelFacts
from include.ratchet.labels.human import HumanLevel
from include.ratchet.registry.card import render_html, render_markdown
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.markdown import escape
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


def card(tmp_path, labels=None, dependencies=None, **changes):
    one = spec(tmp_path)
    verdict = judge(one, GOOD, PLAIN)
    return render_markdown(one, LINEAGE, replace(GOOD, **changes), verdict, 3000, ["plots/a.png"],
                           labels=labels, dependencies=dependencies)  # fmt: skip


def dependencies_of(name):
    interval, days = Interval(0.1, 0.0, 0.2), Share(3, 30, Interval(0.1, 0.03, 0.26), ("2020-02-03",))
    need = Need((name,), interval, True, (f"orders.{name}",), (f"{name}: 3 EUR",), 8.0, 0.0)
    band = Band(0.1, 0.4, 100, 20, 0.3, 0.2, 0.4, Interval(-0.2, -0.3, -0.1))
    return DependencyReport(
        start=datetime(2020, 1, 1, tzinfo=UTC), as_of=datetime(2020, 3, 1, tzinfo=UTC),
        sources=(Reliability("orders", 30, days, days, days, Share(0, 0, Interval(0.0, 0.0, 1.0)), 0.01),),
        changes=(Change("orders", name, "2020-02-03", "scaled", 1.0, 100.0, f"{name} times 100", True),),
        schema=(f"{name} is new",), ties=Ties((Cluster((name, "x"), (name, "x"), 0.99, "Spearman"),), ((name, "y"),),
                                              (name,), 900),
        unused=Unused((f"orders.{name}",), ("spare",), ((name, 3),)),
        necessity=Necessity("roc_auc", 0.8, 0.002, 900, 300, (need, replace(need, lost=None, note=name)), 2, interval),
        feedback=Feedback(name, 900, 90, interval, band.effect, interval, "roc_auc", interval, interval, interval,
                          (band,)),
    )  # fmt: skip


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
    page = render_html(card(tmp_path_factory.mktemp("m"), facts_of(name), dependencies_of(name), slices=hostile), name)
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


def test_card_tells_fairness_before_and_after_costs_of_thresholds_and_the_checklist(tmp_path):
    draw = np.random.default_rng(0)
    groups, chance = draw.choice(np.array(["a", "b|b"]), 4000), draw.random(4000)
    label = (draw.random(4000) < chance).astype(int)
    scores = np.clip(chance + 0.2 * (groups == "a"), 0, 1)
    one = spec(tmp_path)
    parity = measure_parity(one, "shop", groups, label, scores, chance)
    plans = plan_thresholds(one, "shop", groups, label, scores)
    report = replace(GOOD, parity=(parity,), thresholds=(plans,))
    assert EvaluationReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    sources = (Finding("Who or what made the labels?", "", "open", "owner"),)
    text = render_markdown(one, LINEAGE, report, judge(one, report, PLAIN), 3000, sources=sources)
    gap = parity.gaps[0]
    for words in (
        "## Fairness over shop: before and after",
        f"{escape(gap.before)} | {escape(gap.after)} | {escape(gap.change)}", "| b&#124;b | ",
        "A false positive costs 1, a false negative 1", "ask a lawyer", "| demographic parity | a 0.", "equalised odds",
        "## Sources of human bias in the data", "| open | Who or what made the labels? | nobody has said | owner |",
    ):  # fmt: skip
        assert words in text


def test_card_of_a_first_version_says_that_there_is_no_before(tmp_path):
    groups, label = np.array(["a", "b"] * 500), np.array([0, 1, 1, 0] * 250)
    one = spec(tmp_path)
    report = replace(GOOD, parity=(measure_parity(one, "shop", groups, label, np.linspace(0, 1, 1000)),))
    assert "there is no champion" in render_markdown(one, LINEAGE, report, judge(one, report, PLAIN), 3000)


def test_card_tells_of_dependencies(tmp_path):
    text = card(tmp_path, dependencies=dependencies_of("price"))
    assert "| orders | 30 | 3 of 30 (3.0% to 26.0%) |" in text
    assert "| 2020-02-03 | orders.price | scaled | price times 100 | yes |" in text
    assert "Acting surely moves outcomes." in text
    assert "not known" in text
    assert "Landed and read by nobody: orders.price." in text
    assert "price (until version 3)" in text
    assert "2 more important groups were not tried." in text
    assert "Data dependencies" not in card(tmp_path)
    assert DependencyReport.from_dict(dependencies_of("price").to_dict()) == dependencies_of("price")
