"""What records and labels say of two versions, and what is not seen yet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import log_loss

from include.ratchet.data.records import RecordTable
from include.ratchet.registry.ledger import AliasState
from include.ratchet.rollout.actions import start
from include.ratchet.rollout.evidence import distance_of, gather, newest_record
from include.ratchet.rollout.labels import to_label
from include.ratchet.rollout.words import facts_of
from include.ratchet.spec import Model
from include.ratchet.spec.dependencies import HoldoutSpec
from tests.include.ratchet.rollout.traffic import BEGIN, DAY, KEY, NEXT, World, make_model, order


@pytest.fixture
def begin(settings, registry, tmp_path):
    """Starts a hand-over by some strategy, and gives its world and state."""

    def begin(strategy="shadow", **changes):
        model = make_model(tmp_path, strategy=strategy, **changes)
        state = start(settings, model, KEY, NEXT, order(), BEGIN).state
        noise = {1: 0.1, 2: 0.2}
        return World(settings, model, noise), state

    return begin


def records(world, version):
    rows = RecordTable(world.settings, world.model, "requests").read().to_pylist()
    return [row for row in rows if row["version"] == version]


def test_paired_losses_are_those_of_the_same_rows(begin, settings):
    world, state = begin()
    labels = {row["order_id"]: row["y"] for row in world.live(BEGIN, state.to_route())}
    found = gather(settings, world.model, state, BEGIN + 2 * DAY)
    assert (found.champion.rows, found.challenger.rows, found.paired.rows) == (300, 300, 300)
    losses = {}
    for version, arm in ((1, found.champion), (2, found.challenger)):
        rows = records(world, version)
        truth = [labels[json.loads(row["key"])[0]] for row in rows]
        losses[version] = log_loss(truth, [row["score"] for row in rows])
        assert arm.loss.mean == pytest.approx(losses[version])
    assert found.paired.mean == pytest.approx(losses[2] - losses[1])
    scores = [[row["score"] for row in records(world, version)] for version in (1, 2)]
    assert found.shift == pytest.approx(ks_2samp(*scores).statistic)
    assert found.champion.distinct == len(set(scores[0]))


def test_worth_is_that_of_labelled_rows_and_of_the_same_ones(begin, settings):
    """A decision of the noisier challenger is wrong more often."""
    world, state = begin(value="CASE WHEN decision = y THEN 1 ELSE -3 END")
    labels = {row["order_id"]: row["y"] for row in world.live(BEGIN, state.to_route())}
    found = gather(settings, world.model, state, BEGIN + 2 * DAY).worth
    values = {
        version: np.array([1 if (row["score"] >= 0.5) == labels[json.loads(row["key"])[0]] else -3
                           for row in sorted(records(world, version), key=lambda row: row["key"])])
        for version in (1, 2)
    }  # fmt: skip
    assert (found.name, found.unit) == ("worth", "EUR")
    assert (found.champion.rows, found.challenger.rows, found.gain.rows) == (300, 300, 300)
    assert (found.champion.mean, found.challenger.mean) == pytest.approx((values[1].mean(), values[2].mean()))
    assert found.gain.mean == pytest.approx((values[2] - values[1]).mean())
    assert values[2].mean() < values[1].mean()
    # At noon half of the morning's labels are known.
    assert gather(settings, world.model, state, BEGIN + DAY / 2).worth.gain.rows == 75
    told = facts_of(replace(state, numbers=gather(settings, world.model, state, BEGIN + 2 * DAY).to_dict()))
    assert told["worth, challenger"] == f"{values[2].mean():.4g} EUR a prediction"


def test_labels_are_seen_only_once_they_are_available(begin, settings):
    """They come 6 hours after the event; at noon those of the morning's first half are known."""
    world, state = begin()
    world.live(BEGIN, state.to_route())
    found = gather(settings, world.model, state, BEGIN + DAY / 2)
    assert found.challenger.rows == 150
    assert found.challenger.loss.rows == 75
    assert gather(settings, world.model, state, BEGIN + timedelta(hours=6)).challenger.loss.rows == 0


def test_label_that_a_caller_said_counts_until_one_lands(begin, settings):
    world, state = begin()
    labels = world.live(BEGIN, state.to_route(), landed=False)
    wrong = {row["order_id"]: not row["y"] for row in labels}
    world.tell("label", {row["order_id"]: row["y"] for row in labels}, BEGIN + 2 * DAY)
    right = gather(settings, world.model, state, BEGIN + 3 * DAY)
    assert gather(settings, world.model, state, BEGIN + 2 * DAY).challenger.loss.rows == 0
    assert right.challenger.loss.rows == 300
    # The newest word counts.
    world.tell("label", wrong, BEGIN + 3 * DAY)
    turned = gather(settings, world.model, state, BEGIN + 4 * DAY)
    assert turned.challenger.loss.mean > 2 * right.challenger.loss.mean
    # What landed counts, also if it did before a caller spoke.
    world.land(labels)
    assert gather(settings, world.model, state, BEGIN + 4 * DAY).challenger.loss == right.challenger.loss


def test_feedback_may_name_the_request_instead_of_the_key(begin, settings):
    world, state = begin()
    labels = world.live(BEGIN, state.to_route(), landed=False)
    assert gather(settings, world.model, state, BEGIN + 2 * DAY).paired.rows == 0
    rows = [
        {"request_id": json.dumps([row["order_id"]]), "row": 0 if number % 2 else None, "kind": "label",
         "value": json.dumps(bool(row["y"])), "received_at": BEGIN + DAY}
        for number, row in enumerate(labels[:200])
    ]  # fmt: skip
    rows.append({**rows[0], "request_id": "of nobody"})
    rows.append({**rows[0], "value": "not JSON"})
    RecordTable(settings, world.model, "feedback").append(rows, "f", 1)
    assert gather(settings, world.model, state, BEGIN + 2 * DAY).paired.rows == 200


def test_key_that_is_asked_for_twice_counts_once(begin, settings):
    world, state = begin()
    world.live(BEGIN, state.to_route())
    once = gather(settings, world.model, state, BEGIN + 2 * DAY)
    table = RecordTable(settings, world.model, "requests")
    again = [
        {**row, "request_id": "again-" + row["request_id"], "score": 0.5,
         "received_at": row["received_at"] + timedelta(minutes=1),
         "prediction_time": row["prediction_time"] + timedelta(minutes=1)}
        for row in table.read().to_pylist()
    ]  # fmt: skip
    table.append(again, "other", 1)
    twice = gather(settings, world.model, state, BEGIN + 2 * DAY)
    assert twice.challenger.rows == 600
    assert (twice.paired, twice.challenger.loss) == (once.paired, once.challenger.loss)


@pytest.mark.parametrize("route", ["batch", "pinned"])
def test_what_no_hand_over_routed_is_no_evidence(begin, settings, route):
    world, state = begin()
    world.live(BEGIN, state.to_route())
    before = gather(settings, world.model, state, BEGIN + 2 * DAY)
    table = RecordTable(settings, world.model, "requests")
    further = [{**row, "request_id": f"further-{row['request_id']}", "route": route}
               for row in table.read().to_pylist()]  # fmt: skip
    table.append(further, "other", 1)
    assert gather(settings, world.model, state, BEGIN + 2 * DAY) == before


def test_what_was_predicted_before_a_stage_is_the_stage_befores(begin, settings):
    world, state = begin()
    world.live(BEGIN, state.to_route())
    table = RecordTable(settings, world.model, "requests")
    # Predicted half a day ahead of their events.
    model = Model(spec=world.model.spec.model_copy(update={"prediction_lead": DAY / 2}), folder=world.model.folder)
    ahead = [{**row, "request_id": f"ahead-{row['request_id']}", "event_time": row["event_time"] + DAY / 2}
             for row in table.read().to_pylist()]  # fmt: skip
    table.append(ahead, "other", 1)
    later = replace(state, stage_since=BEGIN + DAY / 2)
    first = gather(settings, model, state, BEGIN + DAY / 2).challenger.rows
    second = gather(settings, model, later, BEGIN + 2 * DAY).challenger.rows
    assert (first, second) == (300, 300)


def test_two_groups_are_compared_only_while_both_were_answered(begin, settings):
    world, state = begin("ab")
    # Before the hand-over the champion alone answered; its rows of then are another time's.
    world.live(BEGIN, replace(state.to_route(), mode="direct"))
    assert gather(settings, world.model, state, BEGIN + 2 * DAY).champion.rows == 0
    world.live(BEGIN + DAY, state.to_route())
    found = gather(settings, world.model, state, BEGIN + 3 * DAY)
    assert found.champion.rows + found.challenger.rows == 300
    assert 100 < found.challenger.rows < 200
    assert found.paired.rows == 0


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        ("error", "error_share", 1.0),
        ("null", "null_share", 1.0),
        ("constant", "distinct", 1),
        ("slow", "latency_p99_ms", 900.0),
    ],
)
def test_faults_are_measured(begin, settings, fault, field, value):
    world, state = begin()
    world.broken = {2: fault}
    world.live(BEGIN, state.to_route())
    found = gather(settings, world.model, state, BEGIN + DAY)
    assert getattr(found.challenger, field) == value
    assert getattr(found.champion, field) != value
    json.dumps(found.to_dict(), allow_nan=False)


def test_people_are_compared_with_the_model_and_their_answers_are_labels(begin, settings):
    world, state = begin("defer")
    labels = world.live(BEGIN, state.to_route(), landed=False)
    assert state.champion == 2
    world.noise[2] = 0.2
    # People are right but for every tenth.
    said = {row["order_id"]: bool(row["y"]) != (number % 10 == 0) for number, row in enumerate(labels)}
    world.tell("human", said, BEGIN + DAY)
    found = gather(settings, world.model, state, BEGIN + 2 * DAY)
    assert (found.human.rows, found.human.labelled) == (300, 0)
    assert found.champion.loss.rows == 300
    world.land(labels)
    found = gather(settings, world.model, state, BEGIN + 2 * DAY)
    rows = records(world, 2)
    truth = np.array([row["y"] for row in labels])
    right = (np.array([row["score"] for row in rows]) >= 0.5) == truth
    assert found.human.people == pytest.approx(0.9)
    assert found.human.model == pytest.approx(right.mean())
    assert found.human.gap.mean == pytest.approx(0.9 - right.mean())
    assert 0.5 < found.human.agreement < 1


def test_multiclass_loss_is_of_the_class_that_came(settings, registry, tmp_path):
    model = make_model(tmp_path, task="multiclass", strategy="shadow")
    state = start(settings, model, KEY, NEXT, order(), BEGIN).state
    shares = {1: {"a": 0.7, "b": 0.3}, 2: {"a": 0.4, "b": 0.6}}
    rows = [
        {"request_id": f"r{number}", "row": 0, "segment": "all", "key": f'["o{number}"]', "event_time": BEGIN,
         "prediction_time": BEGIN, "received_at": BEGIN, "version": version, "route": "shadow", "mode": "shadow",
         "score": max(share.values()), "output": json.dumps({"probabilities": share})}
        for number in range(4) for version, share in shares.items()
    ]  # fmt: skip
    rows[0]["output"] = json.dumps({"deferred": True})
    RecordTable(settings, model, "requests").append(rows, "log", 1)
    world = World(settings, model, {})
    world.tell("label", {f"o{number}": "ab"[number % 2] for number in range(4)}, BEGIN)
    found = gather(settings, model, state, BEGIN + DAY)
    assert found.champion.loss.rows == 3
    assert found.challenger.loss.mean == pytest.approx(-(2 * np.log(0.4) + 2 * np.log(0.6)) / 4)
    assert found.paired.rows == 3


def test_without_records_there_is_no_evidence(begin, settings):
    world, state = begin()
    found = gather(settings, world.model, state, BEGIN + DAY)
    assert (found.challenger.rows, found.paired.rows, found.shift) == (0, 0, None)
    assert newest_record(settings, world.model, BEGIN + DAY) is None


def test_time_is_that_of_the_newest_record(begin, settings):
    world, state = begin()
    for day in range(3):
        world.live(BEGIN + day * DAY, state.to_route())
    last = BEGIN + 3 * DAY - DAY / 300
    assert newest_record(settings, world.model, datetime(2027, 1, 1, tzinfo=BEGIN.tzinfo)) == last
    assert newest_record(settings, world.model, BEGIN + DAY) == BEGIN + DAY - DAY / 300
    assert newest_record(settings, world.model, BEGIN) is None


def test_other_segments_do_not_count(begin, settings):
    world, state = begin()
    world.live(BEGIN, state.to_route())
    other = replace(state, key=KEY._replace(segment="UA"))
    assert gather(settings, world.model, other, BEGIN + DAY).challenger.rows == 0


def test_distance_is_that_of_scipy():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=300), np.round(generator.normal(0.5, size=170), 1)
    assert distance_of(one, other) == pytest.approx(ks_2samp(one, other).statistic)
    assert distance_of(one, np.array([])) is None


@pytest.mark.parametrize(
    ("task", "label", "value", "expected"),
    [
        ("binary", {}, True, 1.0),
        ("binary", {}, 0, 0.0),
        ("binary", {}, "true", 1.0),
        ("binary", {}, "perhaps", None),
        ("binary", {"positive": "yes"}, "yes", 1.0),
        ("binary", {"positive": "yes"}, "no", 0.0),
        ("regression", {}, "3.5", 3.5),
        ("regression", {}, [1], None),
        ("multiclass", {}, 7, "7"),
        ("multiclass", {}, None, None),
    ],
)
def test_labels_of_callers_are_read(tmp_path, task, label, value, expected):
    model = make_model(tmp_path, task=task, label={"column": "y", **label})
    assert to_label(model.spec, value) == expected


def test_first_version_may_defer(settings, registry, tmp_path):
    model = make_model(tmp_path, strategy="defer")
    state = start(settings, model, KEY, AliasState(5, BEGIN), order(), BEGIN).state
    assert (state.champion, state.challenger) == (5, None)
    assert registry == {"champion": 5, "previous": 1}


def hold(world):
    """The same world with a fifth of its keys held out."""
    spec = world.model.spec
    serving = spec.serving.model_copy(update={"holdout": HoldoutSpec(share=0.2)})
    world.model = Model(spec=spec.model_copy(update={"serving": serving}), folder=world.model.folder)
    return world


def test_held_out_rows_pair_both_versions_where_both_predict(begin, settings):
    world, state = begin("canary", shadow_first=False)
    hold(world).live(BEGIN, state.to_route())
    found = gather(settings, world.model, state, BEGIN + 2 * DAY)
    assert (found.champion.rows, found.challenger.rows, found.paired.rows) == (300, 300, 300)
    assert {row["route"] for row in records(world, 1)} >= {"holdout", "champion"}
    assert "holdout" not in {row["route"] for row in records(world, 2)}


def test_held_out_rows_are_of_neither_group_of_an_ab_test(begin, settings):
    world, state = begin("ab")
    hold(world).live(BEGIN, state.to_route())
    held = sum(row["route"] == "holdout" for row in records(world, 1))
    assert 30 < held < 90
    found = gather(settings, world.model, state, BEGIN + 2 * DAY)
    assert found.champion.rows + found.challenger.rows == 300 - held
