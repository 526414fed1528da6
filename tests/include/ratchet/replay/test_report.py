"""Answering again: the same bits, the same features, and every difference with its cause."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.data.tables import Table
from include.ratchet.errors import RecordNotFoundError
from include.ratchet.features import Inputs
from include.ratchet.features.online import OnlineScorer, build_histories
from include.ratchet.registry.lineage import read_kernels
from include.ratchet.replay import Selection, replay
from include.ratchet.replay.show import as_text
from tests.include.ratchet.replay.lived import NAME, compute, read_orders, record, replace_day

DAY = Selection(start=datetime(2026, 2, 26, tzinfo=UTC), end=datetime(2026, 2, 27, tzinfo=UTC))
pytestmark = pytest.mark.filterwarnings("default")  # as in pipeline/test_life.py: MLflow's own SQLAlchemy usage


def test_same_version_on_recorded_features_gives_the_same_bits(workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 50), "log")
    report = replay(workspace, NAME, DAY)
    assert report.is_identical
    assert [(check.version, check.rows, check.identical) for check in report.answers] == [(1, 50, 50)]
    assert (report.features.rows, report.features.equal) == (50, 50)
    assert (report.features.explanations, report.features.left_out) == ((), {})
    assert json.loads(json.dumps(report.to_dict()))["is_identical"] is True
    assert "identical: 50 of 50 answers" in as_text(report)


def test_one_request_is_found_by_its_id_and_answered_alone(workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 50), "log")
    report = replay(workspace, NAME, Selection("log-7"))
    assert report.is_identical
    assert (report.records, report.features.equal) == (1, 1)


def test_unknown_request_is_refused_with_where_was_looked(workspace):
    with pytest.raises(RecordNotFoundError, match="no records yet"):
        replay(workspace, NAME, Selection("log-7"))
    record(workspace, read_orders(workspace, "2026-02-26", 5), "log")
    with pytest.raises(RecordNotFoundError, match="request 'lug-7'.*5 records of 2026-02-26 to 2026-02-26"):
        replay(workspace, NAME, Selection("lug-7"))
    with pytest.raises(RecordNotFoundError, match="event times from 2026-02-27"):
        replay(workspace, NAME, Selection("log-1", DAY.end, datetime(2026, 3, 1, tzinfo=UTC)))


def test_tampered_record_is_reported(workspace):
    def tamper(row):
        if row["request_id"] == "log-3":
            row["feature_price"] += 1

    record(workspace, read_orders(workspace, "2026-02-26", 10), "log", change=tamper)
    report = replay(workspace, NAME, DAY)
    assert not report.is_identical
    (difference,) = report.answers[0].differences
    assert difference.request_id == "log-3"
    assert difference.recorded != difference.again
    (value,) = report.features.differences
    assert (value.request_id, value.feature, value.cause) == ("log-3", "price", "unknown")
    assert value.recorded == value.recomputed + 1
    assert report.features.unexplained == 1
    assert "not identical: 9 of 10" in as_text(report)


def test_online_features_that_were_older_explain_the_difference(workspace):
    """The service's own code computes them, from histories built two days before."""
    known_until = datetime(2026, 2, 25, tzinfo=UTC)

    def online(workspace, orders):
        model, settings = workspace.model(NAME), workspace.settings
        histories = build_histories(model, Inputs.open(settings, model), known_until, settings=settings)
        with OnlineScorer(model, histories, settings=settings) as scorer:
            return scorer.score(orders)

    record(workspace, read_orders(workspace, "2026-02-26", 10), "log", features=online, known_until=known_until)
    report = replay(workspace, NAME, DAY)
    assert report.is_identical
    assert report.features.equal == 0
    assert report.features.columns == {"shop_return_rate_7d": 10}
    (explanation,) = report.features.explanations
    assert (explanation.cause, explanation.rows) == ("online", 10)
    # Orders of a day before what was known, to a day before the last prediction.
    orders = Table(workspace.settings, NAME, NAME).read(["2026-02-24", "2026-02-25"])["ordered_at"]
    last = pc.max(read_orders(workspace, "2026-02-26", 10)["ordered_at"]).as_py()
    since = pc.greater_equal(pc.add(orders, pa.scalar(86_400_000_000, pa.duration("us"))), pa.scalar(known_until))
    until = pc.less(pc.add(orders, pa.scalar(86_400_000_000, pa.duration("us"))), pa.scalar(last))
    assert f"{pc.sum(pc.and_(since, until)).as_py()} rows of {NAME}" in explanation.words
    assert {value.cause for value in report.features.differences} == {"online"}


@pytest.mark.parametrize("is_online", [False, True])
def test_rows_that_landed_after_the_answer_explain_the_difference(workspace, is_online):
    day = Table(workspace.settings, NAME, NAME).read(["2026-02-22"])
    replace_day(workspace, "2026-02-22", day.slice(0, 20))
    known = {"known_until": datetime(2026, 3, 1, tzinfo=UTC)} if is_online else {}
    record(workspace, read_orders(workspace, "2026-02-26", 10), "log", **known)
    time.sleep(0.01)  # the table's log counts milliseconds
    replace_day(workspace, "2026-02-22", day)
    report = replay(workspace, NAME, DAY)
    assert report.is_identical
    (explanation,) = report.features.explanations
    assert (explanation.cause, explanation.rows) == ("changed", 10)
    version = Table(workspace.settings, NAME, NAME).version()
    assert f"{NAME} from version {version - 1} to {version}" in explanation.words


def test_other_kernels_are_named_where_answers_differ(workspace):
    def move(row):
        row["score"] += 1e-15 if row["request_id"] == "there-0" else 0.0

    orders = read_orders(workspace, "2026-02-26", 4)
    record(workspace, orders, "here", kernels=read_kernels())
    record(workspace, orders, "there", change=move, kernels="openblas Cray")
    report = replay(workspace, NAME, DAY)
    (check,) = report.answers
    assert (check.rows, check.identical, check.kernels) == (8, 7, ("openblas Cray",))
    assert "7 of 8 answers" in report.summary()
    assert "computed with other numeric kernels than are here: openblas Cray" in report.summary()


def test_changed_code_is_named(workspace):
    def other(workspace, orders):
        made = compute(workspace, orders)
        return made.set_column(made.column_names.index("price"), "price", pc.multiply(made["price"], 2.0))

    record(workspace, read_orders(workspace, "2026-02-26", 3), "log", features=other, code_hash="0" * 64)
    (explanation,) = replay(workspace, NAME, DAY).features.explanations
    assert (explanation.cause, explanation.rows) == ("code", 3)
    assert "the records name code 000000000000" in explanation.words


def test_what_cannot_be_compared_is_said(workspace):
    spec = workspace.model(NAME).folder / "model.yaml"
    text = spec.read_text()

    def forget(row):
        row["payload"] = None if row["request_id"] == "log-0" else row["payload"].replace('"web"', '"9f3c"')
        row["feature_weight"] = 1.5
        del row["feature_price"]

    record(workspace, read_orders(workspace, "2026-02-26", 10), "log", change=forget)
    spec.write_text(text + "serving: {records: {mask: [shop]}}\n")
    try:
        features = replay(workspace, NAME, DAY).features
    finally:
        spec.write_text(text)
    assert features.rows == features.equal == 9
    assert set(features.left_out) == {"shop", "shop_return_rate_7d", "price", "weight", "1 rows"}
    assert "masked" in features.left_out["shop_return_rate_7d"]
    assert "no longer gives" in features.left_out["weight"]
    assert "newer" in features.left_out["price"]


def test_failed_prediction_has_nothing_to_repeat(workspace):
    def fail(row):
        row |= {"score": None, "output": None, "error": "no such shop"}

    record(workspace, read_orders(workspace, "2026-02-26", 2), "log", change=fail)
    report = replay(workspace, NAME, DAY)
    assert (report.records, report.unanswered, report.answers) == (2, 2, ())
    assert report.is_identical


@pytest.mark.parametrize("words", [{}, {"start": DAY.start}, {"start": DAY.end, "end": DAY.start}])
def test_selection_of_nothing_is_refused(words):
    with pytest.raises(ValueError, match="expected REQUEST_ID|swap the two"):
        Selection(**words)
