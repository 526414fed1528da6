"""What counts of one model and does not of one of many: pure, over the looks of a partition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from include.ratchet.monitoring.control import control
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec.monitoring import MonitoringSpec
from tests.include.ratchet.monitoring.many import fired, keys, look

SPEC = MonitoringSpec()


def count(looks):
    return sum(bool(one.fired) for one in looks)


@pytest.mark.parametrize("p", [SPEC.alpha, 0.5, None])
def test_single_key_stays_as_it_is(p):
    looks = (look(keys(1)[0], 0, fired("performance", p)),)
    assert control(SPEC, looks) == looks
    assert control(SPEC, ()) == ()


def test_lone_alarm_at_the_level_of_one_key_is_chance_and_says_so():
    names = keys(500)
    looks = [look(names[0], 0, fired("performance", SPEC.alpha / 2)), *(look(key) for key in names[1:])]
    found = control(SPEC, looks)
    assert count(found) == 0
    (signal,) = found[0].signals
    assert signal.is_chance
    assert "not counted: chance gives as much to one of 500 keys" in signal.words
    assert found[1:] == tuple(looks[1:])
    assert found[0].judged == looks[0].judged  # so that it ends a streak


def test_lone_key_that_is_hit_hard_counts():
    names = keys(500)
    looks = [look(names[0], 0, fired("performance", SPEC.alpha / 600)), *(look(key) for key in names[1:])]
    assert control(SPEC, looks) == tuple(looks)


def test_what_a_third_of_the_keys_share_counts_in_each_at_its_own_level():
    names = keys(300)
    looks = [look(key, 0, *([fired("performance", SPEC.alpha)] if i % 3 == 0 else [])) for i, key in enumerate(names)]
    looks[0] = replace(looks[0], signals=(fired("performance", 1e-12),))
    assert count(control(SPEC, looks)) == 100


def test_all_that_fire_count():
    looks = [look(key, 0, fired("drift", SPEC.drift_alpha)) for key in keys(100)]
    assert control(SPEC, looks) == tuple(looks)


def test_kinds_do_not_help_each_other_and_limits_stay():
    names = keys(200)
    looks = [look(key, 0, fired("drift", 1e-12)) for key in names[:150]]
    limits = fired("service", None, "volume"), fired("quality", None)
    alone = look(names[150], 0, fired("performance", SPEC.alpha), *limits)
    found = control(SPEC, [*looks, alone, *(look(key) for key in names[151:])])
    assert count(found[:150]) == 150
    assert {one.kind for one in found[150].fired} == {"service", "quality"}


def test_keys_that_could_not_be_judged_are_none_of_the_many():
    names = keys(1000)
    hit = look(names[0], 0, fired("performance", SPEC.alpha))
    looks = [hit, *(look(key, judged=frozenset({"service"})) for key in names[1:])]
    assert control(SPEC, looks) == tuple(looks)


def test_controlling_again_changes_nothing_also_after_the_database():
    rng = np.random.default_rng(0)
    looks = [look(key, 0, fired("performance", float(p)), fired("drift", float(p) * 30))
             for key, p in zip(keys(400), SPEC.alpha * rng.random(400) ** 4, strict=True)]  # fmt: skip
    looks += [look(key) for key in keys(4000)[400:]]
    found = control(SPEC, looks)
    assert 0 < count(found) < 400
    stored = [Look.from_dict(json.loads(json.dumps(one.to_dict()))) for one in found]
    assert control(SPEC, stored) == found
    # A key that comes later changes what counts of the others, from what they were by themselves.
    assert control(SPEC, control(SPEC, looks)[:400]) == control(SPEC, looks[:400])


def test_quiet_fleets_raise_as_little_as_one_model():
    """p-values as chance gives them: of a thousand fleets, hardly more than the level has a signal that counts."""
    rng, false = np.random.default_rng(1), 0
    names, spec = keys(100), MonitoringSpec(false_alarms=0.6)
    for _ in range(1000):
        p = rng.random(100)
        looks = [look(key, 0, *([fired("performance", float(one))] if one <= spec.alpha else []))
                 for key, one in zip(names, p, strict=True)]  # fmt: skip
        false += count(control(spec, looks)) > 0
    assert false / 1000 == pytest.approx(spec.alpha, abs=0.01)
