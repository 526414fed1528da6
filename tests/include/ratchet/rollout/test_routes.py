"""Keys stay where they are, move one way only, and are spread evenly; routes are read in one query."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, rollouts
from include.ratchet.registry.ledger import Entry
from include.ratchet.rollout.routes import Choice, Route, bucket_of, is_held, read_routes
from include.ratchet.spec import ModelKey
from include.ratchet.spec.dependencies import HoldoutSpec

NOW = datetime(2020, 3, 1, tzinfo=UTC)
KEYS = [f'["flight-{number}"]' for number in range(20_000)]


@given(key=st.text(), salt=st.text(max_size=9), share=st.floats(0, 1))
def test_key_is_sticky_and_never_moves_back_when_the_share_grows(key, salt, share):
    route = Route("canary", 1, 2, share, salt)
    assert route.choose(key) == route.choose(key)
    assert 0 <= bucket_of(salt, key) < 1
    if route.choose(key).route == "challenger":
        for more in (share, (share + 1) / 2, 1.0):
            assert replace(route, share=more).choose(key).route == "challenger"
    assert replace(route, share=1.0).choose(key) == Choice(2, "challenger")
    assert replace(route, share=0.0).choose(key) == Choice(1, "champion")


@pytest.mark.parametrize("salt", ["", "a", "flight_delay:7"])
def test_buckets_are_uniform(salt):
    """Chi-square over 50 cells; 85.4 is the 99.9 % quantile at 49 degrees of freedom."""
    counts = np.histogram([bucket_of(salt, key) for key in KEYS], bins=50, range=(0, 1))[0]
    expected = len(KEYS) / 50
    assert ((counts - expected) ** 2 / expected).sum() < 85.4


def test_other_salt_tries_other_keys_first():
    one, other = (np.array([bucket_of(salt, key) for key in KEYS]) for salt in ("one", "other"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert bucket_of("ab", "c") != bucket_of("a", "bc")


@pytest.mark.parametrize(
    ("route", "below", "above", "versions"),
    [
        (Route("direct", 1), Choice(1, "champion"), Choice(1, "champion"), (1,)),
        (Route("shadow", 1, 2), Choice(1, "champion", 2), Choice(1, "champion", 2), (1, 2)),
        (Route("canary", 1, 2, 0.5), Choice(2, "challenger"), Choice(1, "champion"), (1, 2)),
        (Route("canary", 1, 2, 0.5, is_shadowed=True), Choice(2, "challenger", 1), Choice(1, "champion", 2), (1, 2)),
        (Route("ab", 1, 2, 0.5), Choice(2, "challenger"), Choice(1, "champion"), (1, 2)),
        (Route("blue_green", 1, 2, 0), Choice(1, "champion"), Choice(1, "champion"), (1, 2)),
        (Route("blue_green", 1, 2, 1), Choice(2, "challenger"), Choice(2, "challenger"), (1, 2)),
        (Route("defer", 1, None, 0.5), Choice(1, "champion"), Choice(1, "defer"), (1,)),
        (Route("defer", 1), Choice(1, "defer"), Choice(1, "defer"), (1,)),
    ],
    ids=lambda value: value.mode if isinstance(value, Route) else "",
)
def test_every_mode_answers_as_it_says(route, below, above, versions):
    first = next(key for key in KEYS if bucket_of("", key) < 0.5)
    last = next(key for key in KEYS if bucket_of("", key) >= 0.5)
    assert (route.choose(first), route.choose(last)) == (below, above)
    assert route.versions == versions
    assert Route.from_dict(json.loads(json.dumps(route.to_dict()))) == route


@pytest.fixture
def settings(either_database):
    return either_database


def test_routes_of_all_models_are_one_query(settings):
    canary = Route("canary", 1, 2, 0.05, "s", is_shadowed=True)
    states = {
        ModelKey("plain"): None,
        ModelKey("canary"): canary,
        ModelKey("canary", "UA"): replace(canary, share=0.5),
        ModelKey("moved"): replace(canary, champion=7),
        ModelKey("people"): Route("defer", 7, share=0.05),
    }
    engine = engine_of(settings.database_url)
    for key, route in states.items():
        ledger.move_champion(Entry(key, "promotion", f"promotion:{key}", "a test", "good", NOW, 1, NOW), None, settings)
        if route is not None:
            with engine.begin() as connection:
                state = {"status": "running", "route": route.to_dict()}
                connection.execute(rollouts.insert().values(
                    model=key.model, segment=key.segment, revision=1, state=state, updated_at=NOW
                ))  # fmt: skip
    ended = ModelKey("ended")
    ledger.move_champion(Entry(ended, "promotion", "promotion:ended", "a test", "good", NOW, 3, NOW), None, settings)
    with engine.begin() as connection:
        connection.execute(rollouts.insert().values(
            model="ended", segment="all", revision=4, state={"route": None}, updated_at=NOW
        ))  # fmt: skip
    said = []
    event.listen(engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    found = read_routes(settings)
    assert len(said) == 1
    assert found == {
        ModelKey("plain"): Route("direct", 1),
        ModelKey("canary"): canary,
        ModelKey("canary", "UA"): replace(canary, share=0.5),
        # Its champion is no longer the one that the hand-over is about.
        ModelKey("moved"): Route("direct", 1),
        ModelKey("people"): Route("defer", 1, share=0.05),
        ended: Route("direct", 3),
    }


HOLDOUT = HoldoutSpec(share=0.1)


@pytest.mark.parametrize(
    ("route", "held", "other"),
    [
        (Route("direct", 1), Choice(1, "holdout"), Choice(1, "champion")),
        (Route("shadow", 1, 2), Choice(1, "holdout", 2), Choice(1, "champion", 2)),
        (Route("canary", 1, 2, 1.0, is_shadowed=True), Choice(1, "holdout", 2), Choice(2, "challenger", 1)),
        (Route("blue_green", 1, 2, 0.0, is_shadowed=True), Choice(1, "holdout", 2), Choice(1, "champion", 2)),
        (Route("ab", 1, 2, 1.0), Choice(1, "holdout"), Choice(2, "challenger")),
        (Route("defer", 1, share=0.0), Choice(1, "defer"), Choice(1, "defer")),
        (Route("defer", 1, share=1.0), Choice(1, "holdout"), Choice(1, "champion")),
    ],
)
def test_held_out_keys_are_the_champions_in_every_mode(route, held, other):
    keys = KEYS[:2000]
    drawn = {key for key in keys if is_held(HOLDOUT, key)}
    assert {route.choose(key, HOLDOUT) for key in drawn} == {held}
    assert {route.choose(key, HOLDOUT) for key in keys if key not in drawn} == {other}
    assert {route.choose(key) for key in keys} == {other}


def test_hold_out_is_a_share_of_the_keys_grows_with_it_and_is_independent_of_hand_overs():
    drawn = np.array([is_held(HOLDOUT, key) for key in KEYS])
    # Five standard deviations of a binomial share.
    assert abs(drawn.mean() - 0.1) < 5 * np.sqrt(0.09 / len(KEYS))
    more = np.array([is_held(HoldoutSpec(share=0.3), key) for key in KEYS])
    assert more[drawn].all()
    challenged = np.array([bucket_of("order_returns:2", key) < 0.5 for key in KEYS])
    assert abs(np.corrcoef(drawn, challenged)[0, 1]) < 0.03
    other = np.array([is_held(HoldoutSpec(share=0.1, salt="again"), key) for key in KEYS])
    assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.03
