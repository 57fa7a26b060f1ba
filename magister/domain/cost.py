"""Pure: what a box costs, as intervals of a rate on each line of the bill, and the exact sums of them.

All moments are whole seconds, rounded down, and money is whole micro-dollars, so sums never drift: what an
instance cost is `sum(micros * seconds) // 3600` however its time is cut into days.

Where Vast's charges cannot be known to the second, the estimate is conservative, which is to say too high:

- what begins to cost is taken to have begun at the sighting before, and what ends, at the one that shows it;
- a box that is gone cost until the first complete listing that lacked it, not until its DELETE;
- a status that says nothing (null, unknown, restarting, never seen before) ends nothing. Once a status
  tells, or the box is gone, GPUs are taken to have cost all that time, unless the box is still being made;
- an adopted box that runs is taken to have run since Vast made it, at today's price.

It is too low only where nothing was seen: a box whose create was never answered costs nothing before the
first sighting (then from the start on), a price that rose counts from the sighting that showed it, and a stay
between two sightings is not seen. Traffic has no rate: see `traffic`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from magister.domain.instance import Held
from magister.domain.observed import PROVISIONING, RUNNING, Sighting

HOUR = 3600
DAY = 86_400
EPOCH = date(1970, 1, 1)


class Line(StrEnum):
    """Name the lines of the bill that a listing lets us follow; the words are Vast's."""

    GPU = "gpu"
    DISK = "disk"


FREE = frozenset({"offline"})
"""Statuses in which Vast charges nothing: neither GPU nor storage while the host is offline."""

UNPAID_GPU = FREE | PROVISIONING | {"exited", "stopped"}
"""Statuses in which Vast charges no GPU time; the disk costs in all of them but when offline."""

PAID_GPU = frozenset({RUNNING, "frozen"})
"""Statuses in which Vast charges GPU time; a frozen box keeps its GPUs."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Hold a rate in micro-dollars per hour on one line; `ends_at` None = it still runs."""

    line: Line
    micros: int
    begins_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Say when the open interval of a line ends, and which intervals begin after that."""

    ended: Mapping[Line, datetime] = field(default_factory=dict)
    begun: tuple[Interval, ...] = ()


def born(disk_price: int | None, at: datetime) -> Changes:
    """Return what a box that nobody has seen yet costs from its creation at `at`: its disk."""
    return Changes(begun=(Interval(Line.DISK, disk_price or 0, whole(at)),))


def noticed(row: Held, box: Sighting, at: datetime, last: Mapping[Line, Interval]) -> Changes:
    """Return what a sighting at `at` changes, `row` being what was known before.

    `last` holds the last interval of each line. A row without any costs from its creation on; one that came
    back goes on where it ended. A sighting older than one that was noted already changes nothing, nor does
    one of before the end of a row that is gone.
    """
    known = max((m for m in (row.last_seen_at, row.destroyed_at) if m is not None), default=at)
    if at < known:
        return Changes()
    at = whole(at)
    since = min(_before(row, box, last) or at, at)
    untold = _free_until(row, last.get(Line.GPU))
    being_made = box.actual_status in PROVISIONING and row.verified_at is None
    ended: dict[Line, datetime] = {}
    begun: list[Interval] = []
    micros = priced(row, box)
    for line in Line:
        costs, before = _costs(line, box.actual_status), last.get(line)
        if before is None or before.ends_at is not None:
            earliest = min(untold or since, since) if line is Line.GPU else since
            if line is Line.DISK:
                unseen = before is None
            else:
                unseen = costs is False and untold is not None and not being_made
            if costs or unseen:
                begins_at = earliest if before is None else max(earliest, before.ends_at or earliest)
                ends_at = max(at, begins_at) if costs is False else None
                begun.append(Interval(line, micros[line], begins_at, ends_at))
        elif costs is False:
            ended[line] = max(at, before.begins_at)
        elif micros[line] != before.micros:
            ended[line] = max(at, before.begins_at)
            begun.append(Interval(line, micros[line], ended[line]))
    return Changes(ended, tuple(begun))


def gone(row: Held, at: datetime, last: Mapping[Line, Interval]) -> Changes:
    """Return what ends with a row that was proved gone at `at`: all, when a listing first lacked it.

    GPUs of which the last status did not tell whether they cost are taken to have done so until then.
    """
    end = whole(row.absent_since or at)
    if not last and row.contract_id is not None and row.created_at is not None:
        begins_at = whole(row.created_at)
        only = Interval(Line.DISK, row.disk_price or 0, begins_at, max(end, begins_at))
        return Changes(begun=(only,))
    running = {line: interval for line, interval in last.items() if interval.ends_at is None}
    ended = {line: max(end, interval.begins_at) for line, interval in running.items()}
    untold = _free_until(row, last.get(Line.GPU))
    if Line.GPU in running or untold is None or untold >= end:
        return Changes(ended)
    price = max((row.price or 0) - (row.disk_price or 0), 0)
    return Changes(ended, (Interval(Line.GPU, price, untold, end),))


def priced(row: Held, box: Sighting) -> dict[Line, int]:
    """Return the rate of each line; what Vast reports in the listing wins over what was known.

    A disk without a known price is taken for a part of the GPU's, so the sum is right while it runs.
    """
    price = row.price if box.price is None else box.price
    disk = row.disk_price if box.disk_price is None else box.disk_price
    return {Line.GPU: max((price or 0) - (disk or 0), 0), Line.DISK: disk or 0}


def unseen(row: Held, known: Collection[Interval]) -> Interval | None:
    """Return what a row may cost beside its `known` intervals that no sighting has shown; None = nothing.

    Budgets reckon with it: since it was last seen, made or asked for, a box may have begun to run. While its
    status says nothing, it may have run since it was made or its GPUs last stopped.
    """
    open_lines = {interval.line for interval in known if interval.ends_at is None}
    gpu = max((one for one in known if one.line is Line.GPU), key=_begins_at, default=None)
    since = _free_until(row, gpu) or row.last_seen_at or row.created_at or row.sent_at
    if not row.live or since is None or Line.GPU in open_lines:
        return None
    price = row.price or 0
    if Line.DISK in open_lines:
        price = max(price - (row.disk_price or 0), 0)
    return Interval(Line.GPU, price, whole(since))


@dataclass(frozen=True, slots=True)
class Work:
    """Say when a box was at work: from its verification, None = never, until it left the pool."""

    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Total:
    """Hold what one instance came to: seconds, and micro-dollars of which `gpu` are a part."""

    paid: int
    worked: int
    gpu: int
    micros: int


@dataclass(frozen=True, slots=True)
class Hour:
    """Hold what one instance came to in an hour; `fractions` are micro-dollars per hour, times seconds."""

    fractions: int = 0
    worked: bool = False


def total(intervals: Iterable[Interval], work: Work, now: datetime) -> Total:
    """Return what one instance came to; open intervals cost until `now`.

    It is paid while its disk costs, and works while its GPUs cost and it is at work.
    """
    paid = worked = gpu = disk = 0
    for interval in intervals:
        secs = max(_until(interval, now) - _secs(interval.begins_at), 0)
        if interval.line is Line.GPU:
            gpu += interval.micros * secs
            worked += _at_work(_secs(interval.begins_at), _until(interval, now), work)
        else:
            disk += interval.micros * secs
            paid += secs
    return Total(paid, worked, gpu // HOUR, (gpu + disk) // HOUR)


def by_hour(intervals: Iterable[Interval], work: Work) -> dict[int, Hour]:
    """Return what one instance came to in each hour since 1970; its intervals have all ended."""
    found: dict[int, Hour] = {}
    for interval in intervals:
        for hour, since, until in _pieces(interval, work.until, HOUR):
            known = found.get(hour, Hour())
            works = interval.line is Line.GPU and _at_work(since, until, work) > 0
            found[hour] = Hour(known.fractions + interval.micros * (until - since), known.worked or works)
    return found


def by_day(intervals: Iterable[Interval], now: datetime) -> dict[date, int]:
    """Return what one instance cost on each UTC day, in micro-dollars; open intervals cost until `now`.

    Each day takes what is whole by its end and was not by the end before, so the days add up to the cost.
    """
    fractions: Counter[int] = Counter()
    for interval in intervals:
        for day, since, until in _pieces(interval, now, DAY):
            fractions[day] += interval.micros * (until - since)
    found: dict[date, int] = {}
    total = 0
    for day in sorted(fractions):
        before = total // HOUR
        total += fractions[day]
        found[EPOCH + timedelta(days=day)] = total // HOUR - before
    return found


def cost(intervals: Iterable[Interval], now: datetime) -> int:
    """Return what one instance cost in micro-dollars; open intervals cost until `now`."""
    return sum(by_day(intervals, now).values())


def day_of(moment: datetime) -> date:
    """Return the UTC day of `moment`."""
    return moment.astimezone(UTC).date()


def whole(moment: datetime) -> datetime:
    """Return `moment` rounded down to the second."""
    return moment.replace(microsecond=0)


def _before(row: Held, box: Sighting, last: Mapping[Line, Interval]) -> datetime | None:
    """Return since when a change may have gone unseen: the last sighting, else the creation."""
    if Line.DISK not in last:
        begun = row.created_at or box.start_date
    else:
        begun = row.last_seen_at or last[Line.DISK].begins_at
    return None if begun is None else whole(begun)


def _free_until(row: Held, gpu: Interval | None) -> datetime | None:
    """Return until when GPUs surely cost nothing, if the last status did not tell; None = it told.

    `gpu` is the last interval in which they cost.
    """
    if row.last_seen_at is None or _costs(Line.GPU, row.actual_status) is not None:
        return None
    made = row.created_at or row.sent_at or row.requested_at
    stopped = made if gpu is None or gpu.ends_at is None else gpu.ends_at
    return whole(max(made, stopped))


def _begins_at(interval: Interval) -> datetime:
    return interval.begins_at


def _costs(line: Line, status: str | None) -> bool | None:
    """Say whether a line costs in a status of Vast's; None = the status does not tell."""
    if line is Line.GPU:
        return True if status in PAID_GPU else False if status in UNPAID_GPU else None
    return True if status in (PAID_GPU | UNPAID_GPU) - FREE else False if status in FREE else None


def _at_work(since: int, until: int, work: Work) -> int:
    """Return how many of some seconds a box was at work."""
    if work.since is None:
        return 0
    return max(min(until, _secs(work.until)) - max(since, _secs(work.since)), 0)


def _pieces(interval: Interval, now: datetime, length: int) -> Iterator[tuple[int, int, int]]:
    """Cut an interval into pieces of a day or an hour: its number since 1970, and from when to when."""
    since, until = _secs(interval.begins_at), _until(interval, now)
    for number in range(since // length, -(-until // length)):
        begin, end = max(since, number * length), min(until, (number + 1) * length)
        if begin < end:
            yield number, begin, end


def _until(interval: Interval, now: datetime) -> int:
    return _secs(now if interval.ends_at is None else interval.ends_at)


def _secs(moment: datetime) -> int:
    return int(whole(moment.astimezone(UTC)).timestamp())
