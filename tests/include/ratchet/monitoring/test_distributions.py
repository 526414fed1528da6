"""One column of a day beside the reference, as the model's page shows it (`views.distributions`)."""

from __future__ import annotations

import pytest

from include.ratchet.errors import RecordNotFoundError
from include.ratchet.views.distributions import read_distribution
from tests.include.ratchet.monitoring.watched import KEY, NAME

pytestmark = pytest.mark.filterwarnings("default")


def test_column_of_a_day_stands_beside_what_the_champion_learned_from(watched):
    watched.change(d2026_03_02={"unit": 3})
    watched.live("2026-03-01", "2026-03-02")
    settings, model = watched.workspace.settings, watched.workspace.model(NAME)
    same, moved = (read_distribution(settings, model, KEY, day, "price") for day in ("2026-03-01", "2026-03-02"))
    for one in (same, moved):
        assert len(one.labels) == len(one.reference) == len(one.current)
        assert sum(one.reference) == pytest.approx(1)
        assert sum(one.current) == pytest.approx(1)
        assert (one.kind, one.version, one.rows) == ("number", 1, 400)
        assert one.reference_rows > 10_000
    distance = [sum(abs(a - b) for a, b in zip(one.reference, one.current, strict=True)) for one in (same, moved)]
    assert distance[1] > 3 * distance[0]
    assert moved.mean > 2 * same.mean
    shop = read_distribution(settings, model, KEY, "2026-03-01", "shop")
    assert (shop.kind, shop.mean) == ("category", None)
    assert {"north", "south", "web", "other", "null"} == set(shop.labels)


def test_day_or_column_that_is_not_watched_is_said(watched):
    watched.live("2026-03-01", "2026-03-01")
    settings, model = watched.workspace.settings, watched.workspace.model(NAME)
    with pytest.raises(RecordNotFoundError, match="nobody has looked at 2026-03-09"):
        read_distribution(settings, model, KEY, "2026-03-09", "price")
    with pytest.raises(RecordNotFoundError, match="no profile of 'prize'"):
        read_distribution(settings, model, KEY, "2026-03-01", "prize")
