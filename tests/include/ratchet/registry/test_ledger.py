"""The ledger on a real PostgreSQL: append-only, once, and one champion however many end together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from include.ratchet.errors import LedgerConflictError, NothingToRevertError
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, metadata, upgrade
from include.ratchet.registry.database import ledger as rows
from include.ratchet.registry.ledger import CHAMPION, PREVIOUS, Entry
from include.ratchet.spec import ModelKey

NOW = datetime(2020, 3, 1, tzinfo=UTC)
KEY = ModelKey("m")


@pytest.fixture
def settings(either_database):
    return either_database


def promotion(version: int, as_of: datetime = NOW, key: ModelKey = KEY, kind="promotion") -> Entry:
    return Entry(key, kind, f"{kind}:{key}:{version}:{as_of}", "a test", "good", NOW, version, as_of, {"auc": 0.7})


def versions(settings, key=KEY):
    return {alias: state.version for alias, state in ledger.read_aliases(key, settings).items()}


def test_migrations_give_the_tables_of_the_code(settings):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine_of(settings.database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ratchet_schema"})
        assert compare_metadata(context, metadata) == []
    upgrade(settings.database_url)


def test_same_thing_recorded_twice_is_one_row(settings):
    first = ledger.record(promotion(1), settings)
    assert ledger.record(promotion(1), settings) == first
    (entry,) = ledger.history(ModelKey("m"), settings)
    assert (entry.version, entry.as_of, entry.details, entry.recorded_at) == (1, NOW, {"auc": 0.7}, NOW)
    assert ledger.find_entry(entry.idempotency_key, settings) == entry


def test_promotion_keeps_the_previous_one(settings):
    ledger.move_champion(promotion(1), None, settings)
    assert versions(settings) == {CHAMPION: 1}
    ledger.move_champion(promotion(2), 1, settings)
    assert versions(settings) == {CHAMPION: 2, PREVIOUS: 1}
    ledger.move_champion(promotion(2), 1, settings)
    assert versions(settings) == {CHAMPION: 2, PREVIOUS: 1}
    assert len(ledger.history(ModelKey("m"), settings)) == 2


def test_promotion_against_another_champion_is_refused_and_leaves_no_trace(settings):
    ledger.move_champion(promotion(1), None, settings)
    with pytest.raises(LedgerConflictError, match="judged against champion None, but the champion is now 1"):
        ledger.move_champion(promotion(2), None, settings)
    assert versions(settings) == {CHAMPION: 1}
    assert len(ledger.history(ModelKey("m"), settings)) == 1


def test_version_that_knew_less_is_never_promoted(settings):
    ledger.move_champion(promotion(1), None, settings)
    with pytest.raises(LedgerConflictError, match="an older one is never promoted"):
        ledger.move_champion(promotion(2, NOW - timedelta(days=1)), 1, settings)


@pytest.mark.parametrize("champion", [None, 1])
def test_trainings_that_end_together_leave_one_champion_and_a_clear_record(settings, champion):
    if champion:
        ledger.move_champion(promotion(1), None, settings)

    def attempt(version: int) -> int | None:
        try:
            ledger.move_champion(promotion(version), champion, settings)
        except LedgerConflictError:
            return None
        return version

    with ThreadPoolExecutor(4) as pool:
        won = [version for version in pool.map(attempt, range(2, 10)) if version]
    assert len(won) == 1
    assert versions(settings)[CHAMPION] == won[0]
    promoted = [entry.version for entry in ledger.history(ModelKey("m"), settings)]
    assert promoted == [*([1] if champion else []), won[0]]


def test_revert_goes_back_even_to_one_that_knew_less(settings):
    key = ModelKey("m")
    with pytest.raises(NothingToRevertError, match="no champion"):
        ledger.plan_revert(key, settings)
    ledger.move_champion(promotion(1, NOW - timedelta(days=9)), None, settings)
    with pytest.raises(NothingToRevertError, match="no previous"):
        ledger.plan_revert(key, settings)
    ledger.move_champion(promotion(2), 1, settings)
    champion, previous = ledger.plan_revert(key, settings)
    ledger.move_champion(promotion(previous.version, previous.as_of, kind="revert"), champion.version, settings)
    assert versions(settings) == {CHAMPION: 1, PREVIOUS: 2}


@pytest.mark.parametrize("segment", ["UA", "a/b", "Ωmega 'quoted' \"x\"", "😀" * 100, "x" * 300])
def test_segments_of_any_name_are_apart(settings, segment):
    one, other = ModelKey("m", segment), ModelKey("m", segment[:-1] + "!")
    ledger.move_champion(promotion(1, key=one), None, settings)
    assert versions(settings, one) == {CHAMPION: 1}
    assert versions(settings, other) == {}
    assert one.slug != other.slug
    assert "/" not in one.slug
    assert "'" not in one.slug


def test_requests_wait_until_a_verdict_answers_them(settings):
    key = ModelKey("m")
    asked = [Entry(key, "request", f"request:{n}", "monitor", "drift", NOW, details={"window": None}) for n in (1, 2)]
    for entry in (*asked, asked[0]):
        ledger.record(entry, settings)
    assert [entry.idempotency_key for entry in ledger.pending_requests(key, settings)] == ["request:1", "request:2"]
    verdict = Entry(key, "verdict", "verdict:1", "run", "promote", NOW, 1, NOW, {"answers": ["request:1"]})
    ledger.record(verdict, settings)
    assert [entry.idempotency_key for entry in ledger.pending_requests(key, settings)] == ["request:2"]


def test_nothing_is_ever_changed_in_the_ledger(settings):
    for version in (1, 2, 3):
        ledger.move_champion(promotion(version), version - 1 or None, settings)
    with engine_of(settings.database_url).connect() as connection:
        before = connection.execute(select(rows).order_by(rows.c.id)).all()
    ledger.move_champion(promotion(4), 3, settings)
    with engine_of(settings.database_url).connect() as connection:
        assert connection.execute(select(rows).order_by(rows.c.id)).all()[:3] == before
        assert connection.execute(select(func.count()).select_from(rows)).scalar() == 4
