"""How often each source was late, empty, short or broken, read off what landing and validation have kept."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.tables import Table, count_rows
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, Partition, partition_of
from include.ratchet.validation.history import RowHistory

WORST = 5
"""Days that are named of each kind."""
BACKFILLED = timedelta(days=30)
"""A partition that lands so long after its end was backfilled: nothing says whether its source was late."""


@dataclass(frozen=True)
class Share:
    """How many of some partitions something was true of, with Wilson's interval of the share (Wilson 1927).

    Attributes:
        count: of them.
        of: how many could be judged.
        share: of them, with its interval; 0 to 1 where none could be judged.
        worst: keys of the worst, the worst first.
    """

    count: int
    of: int
    share: Interval
    worst: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reliability:
    """What a table's source was like over the window.

    Attributes:
        table: its name.
        partitions: that the calendar has in the window.
        missing: of them, without a row.
        late: of those that were not backfilled, missing ones among them: not landed within the spec's time.
        short: of those with a history to hold them against: fewer rows than it lets expect.
        broken: of those that the source gave: too many rows quarantined, or an expectation failed.
        quarantined_rows: share of all rows that the source gave.
    """

    table: str
    partitions: int
    missing: Share
    late: Share
    short: Share
    broken: Share
    quarantined_rows: float


def wilson(count: int, of: int, confidence: float) -> Interval:
    """The score interval of a share (Wilson 1927, Probable Inference)."""
    if not of:
        return Interval(0.0, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = count / of, 1 + z**2 / of
    middle = (share + z**2 / (2 * of)) / scale
    half = z * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2)) / scale
    # At its ends the interval touches 0 and 1; rounding must not leave the share outside.
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def judge_table(
    model: Model, table: str, calendar: Sequence[Partition], rows: Mapping[str, int], *,
    landed_at: Mapping[str, datetime], quarantined: Mapping[str, int], failed: Iterable[str] = (),
) -> Reliability:  # fmt: skip
    """Hold what is known of a table's partitions against its calendar.

    Args:
        model: whose.
        table: its name.
        calendar: the partitions of the window.
        rows: of each partition that landed, also before the window.
        landed_at: when each landed first, by the clock of the store.
        quarantined: rows of each partition that broke a rule.
        failed: partitions of which an expectation of severity `fail` did not hold.
    """
    spec, confidence = model.spec.table(table), model.spec.evaluation.confidence
    allowed = model.spec.dependencies.late_after
    lags = {one.key: landed_at[one.key] - one.end for one in calendar if one.key in landed_at}
    missing = [one.key for one in calendar if not rows.get(one.key)]
    # A gap in a history that was backfilled as a whole is missing, and was never waited for.
    timed = {key: lag for key, lag in lags.items() if lag <= BACKFILLED}
    first = min(timed, default=None)
    waited = [key for key in missing if first is not None and key > first]
    late = sorted((key for key, lag in timed.items() if lag > allowed and key not in missing),
                  key=lambda key: -timed[key])  # fmt: skip
    history, short, known = RowHistory(model, table, rows), {}, 0
    for one in calendar:
        bounds = history.find_range(one)
        if bounds.high is not None and rows.get(one.key):
            known += 1
            if rows[one.key] < bounds.low:
                short[one.key] = rows[one.key] / bounds.low
    read = {one.key: rows.get(one.key, 0) + quarantined.get(one.key, 0) for one in calendar}
    shares = {key: quarantined.get(key, 0) / count for key, count in read.items() if count}
    limit = spec.quality.quarantine_limit
    bad = {key: share for key, share in shares.items() if share > limit} | dict.fromkeys(
        (key for key in failed if key in shares), 1.0
    )

    def share(found: Sequence[str], of: int) -> Share:
        return Share(len(found), of, wilson(len(found), of, confidence), tuple(found[:WORST]))

    return Reliability(
        table=table, partitions=len(calendar), missing=share(missing, len(calendar)),
        late=share([*late, *waited], len(timed.keys() | set(waited))),
        short=share(sorted(short, key=lambda key: short[key]), known),
        broken=share(sorted(bad, key=lambda key: -bad[key]), len(shares)),
        quarantined_rows=sum(quarantined.get(key, 0) for key in read) / max(sum(read.values()), 1),
    )  # fmt: skip


def read_reliability(
    settings: Settings, model: Model, table: str, calendar: Sequence[Partition], failed: Iterable[str] = ()
) -> Reliability:
    """The same of what landed, quarantined and failed until now; of a table without history its one partition.

    Args:
        settings: where the tables are.
        model: whose.
        table: its name.
        calendar: the partitions of the window.
        failed: partitions of which an expectation did not hold.
    """
    target = Table(settings, model.name, table)
    delta = target.open()
    held = quarantine_table(settings, model.name, table).open()
    return judge_table(
        model, table, calendar, {} if delta is None else count_rows(delta),
        landed_at={} if delta is None else read_landings(target, delta),
        quarantined={} if held is None else count_rows(held), failed=failed,
    )  # fmt: skip


def read_landings(target: Table, delta: Any) -> dict[str, datetime]:
    """When each partition of a table was first written, off the commits of its log."""
    found: dict[str, datetime] = {}
    for commit in sorted(delta.history(), key=lambda one: int(one["version"])):
        at = datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
        predicate = (commit.get("operationParameters") or {}).get("predicate")
        if predicate is not None:
            keys: Iterable[str] = _QUOTED.findall(predicate)
        else:
            keys = target.row_counts(int(commit["version"])) if not found else ()
        for key in keys:
            found.setdefault(key, at)
    return found


_QUOTED = re.compile(r"'([^']*)'")


def list_calendar(model: Model, start: datetime, end: datetime) -> list[Partition]:
    """The whole partitions of a window, none before the spec's `start`."""
    spec = model.spec
    if spec.start is not None:
        start = max(start, partition_of(spec, spec.start).start)
    found: list[Partition] = []
    current = partition_of(spec, start)
    if current.start < start:
        current = partition_of(spec, current.end)
    while current.end <= end:
        found.append(current)
        current = partition_of(spec, current.end)
    return found
