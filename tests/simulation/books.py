"""What is stored and shown of money, held against the intervals and the traffic that it sums up.

All is reckoned anew in plain Python and in fractions, by none of the code under test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, Engine

from magister.store.db.views import SQLITE, views

HOUR = 3600
DAY = 86_400
KB_PER_GB = 1 << 20

RATES = "SELECT instance_id, id, line, micros, begins_at, ends_at FROM rates"
TRAFFIC = "SELECT instance_id, day, fractions FROM day_traffic"
TOTALS = """
    SELECT instance_id, last_rate, works_from, works_until, paid_seconds, worked_seconds, gpu_micros, micros
    FROM instance_totals
"""
LIVE = "SELECT id, verified_at, dropped_at FROM instances WHERE state <> 'destroyed'"
STORED_DAYS = "SELECT instance_id, day, micros, traffic_micros FROM day_costs"
STORED_HOURS = "SELECT hour, instances, verified, fractions FROM pool_hours"
SEEN_SINCE = "SELECT id FROM instances WHERE last_seen_at > destroyed_at"


@dataclass(frozen=True, slots=True)
class Span:
    """Hold a rate in micro-dollars per hour, and the seconds since 1970 between which it held."""

    rate: int
    line: str
    micros: int
    since: int
    until: int

    def pieces(self, length: int) -> Iterator[tuple[int, "Span"]]:
        """Cut it where a day or an hour of so many seconds ends, and number these."""
        at = self.since
        while at < self.until:
            number = at // length
            end = min((number + 1) * length, self.until)
            yield number, Span(self.rate, self.line, self.micros, at, end)
            at = end

    @property
    def cost(self) -> Fraction:
        """Return what it cost, in micro-dollars."""
        return Fraction(self.micros * (self.until - self.since), HOUR)

    def within(self, since: int | None, until: int) -> int:
        """Return how many of its seconds lie between two moments; None = there was no such time."""
        return 0 if since is None else max(min(self.until, until) - max(self.since, since), 0)


@dataclass(frozen=True, slots=True)
class Life:
    """Hold what an instance cost as its intervals say, and between which seconds it was at work."""

    spans: tuple[Span, ...]
    since: int | None
    until: int

    @property
    def total(self) -> tuple[int, int, int, int]:
        """Return the seconds that were paid and worked, and the micro-dollars of its GPUs and in all."""
        gpus = [span for span in self.spans if span.line == "gpu"]
        disks = [span for span in self.spans if span.line == "disk"]
        gpu, disk = sum((span.cost for span in gpus), Fraction()), sum((s.cost for s in disks), Fraction())
        paid = sum(span.until - span.since for span in disks)
        return paid, sum(span.within(self.since, self.until) for span in gpus), gpu // 1, (gpu + disk) // 1

    def days(self) -> dict[str, int]:
        """Return the micro-dollars of each UTC day."""
        sums: defaultdict[str, Fraction] = defaultdict(Fraction)
        for span in self.spans:
            for number, piece in span.pieces(DAY):
                sums[_day(number)] += piece.cost
        return whole(sums)

    def hours(self) -> dict[int, tuple[Fraction, bool]]:
        """Return of each hour in which it was there what it cost, and whether it worked."""
        found: dict[int, tuple[Fraction, bool]] = {}
        for span in self.spans:
            for number, piece in span.pieces(HOUR):
                cost, worked = found.get(number, (Fraction(), False))
                works = piece.line == "gpu" and piece.within(self.since, self.until) > 0
                found[number] = (cost + piece.cost, worked or works)
        return found


def whole(sums: Mapping[str, Fraction]) -> dict[str, int]:
    """Round sums by the day so that they add up: each takes what is whole by its end and was not before."""
    found, total = {}, Fraction()
    for day in sorted(sums):
        before, total = total, total + sums[day]
        found[day] = total // 1 - before // 1
    return found


class Books:
    """Find what is stored or shown otherwise than the intervals say.

    Only on SQLite, where whole lives are lived: on PostgreSQL it is the boundaries of one, and the same views
    and sums are compared with SQLite's by tests of their own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read = engine.dialect.name == "sqlite"

    def stored_wrong(self) -> str:
        """Say what was stored wrong of the instances that are settled; "" = nothing."""
        if not self._read:
            return ""
        with self._engine.connect() as connection:
            lives = self._settled(connection)
            totals = {row[0]: tuple(row[4:]) for row in _asked(connection, TOTALS)}
            return (
                _parted("instance_totals", totals, {number: life.total for number, life in lives.items()})
                or _parted("pool_hours", *_hours(_asked(connection, STORED_HOURS), lives.values()))
                or _parted("day_costs", *self._days(connection, lives))
            )

    def shown_wrong(self, now: datetime) -> str:
        """Say what a view would show wrong at `now`; "" = nothing."""
        if not self._read:
            return ""
        at = int(now.timestamp())
        with self._engine.connect() as connection:
            lives = {**self._settled(connection), **self._living(connection, at)}
            costs = [
                (row.instance_id, (row.paid_seconds, row.worked_seconds, row.gpu_micros, row.micros))
                for row in _shown(connection, "instance_cost", at)
            ]
            days = {(row.instance_id, row.day): row.micros for row in _shown(connection, "daily_cost", at)}
            hours = [
                (_hour(row.hour), row.instances, row.verified, row.micros)
                for row in _shown(connection, "pool_hourly", at)
            ]
        reckoned = {
            (number, day): micros for number, life in lives.items() for day, micros in life.days().items()
        }
        return (
            _parted("instance_cost", dict(costs), {number: life.total for number, life in lives.items()})
            or _parted("daily_cost", days, reckoned)
            or _parted("pool_hourly", *_hours(hours, lives.values(), HOUR))
        )

    def _settled(self, connection: Connection) -> dict[int, Life]:
        spans = _spans(connection)
        return {
            number: Life(
                tuple(span for span in spans.get(number, ()) if span.rate <= last),
                _maybe(since),
                _secs(until),
            )
            for number, last, since, until, *_ in _asked(connection, TOTALS)
        }

    def _living(self, connection: Connection, now: int) -> dict[int, Life]:
        spans = _spans(connection, now)
        return {
            number: Life(tuple(spans.get(number, ())), _maybe(verified), now if left is None else _secs(left))
            for number, verified, left in _asked(connection, LIVE)
        }

    def _days(
        self, connection: Connection, lives: Mapping[int, Life]
    ) -> tuple[dict[object, object], dict[object, object]]:
        """Return the days that are stored, and as they are reckoned; of what came back GPUs and disk only."""
        back = {number for (number,) in _asked(connection, SEEN_SINCE)}
        moved: defaultdict[int, dict[str, Fraction]] = defaultdict(dict)
        for number, day, fractions in _asked(connection, TRAFFIC):
            moved[number][day] = Fraction(fractions, KB_PER_GB)
        stored: dict[object, object] = {}
        for number, day, micros, traffic in _asked(connection, STORED_DAYS):
            stored[number, day, "cost"] = micros
            if number not in back:
                stored[number, day, "traffic"] = traffic
        reckoned: dict[object, object] = {}
        for number, life in lives.items():
            reckoned |= {(number, day, "cost"): micros for day, micros in life.days().items()}
            if number not in back:
                traffic = whole(moved[number])
                reckoned |= {(number, day, "traffic"): micros for day, micros in traffic.items()}
        return stored, reckoned


def _spans(connection: Connection, now: int | None = None) -> dict[int, list[Span]]:
    """Read the intervals of all instances; open ones last until `now`, None = they are left out."""
    found: defaultdict[int, list[Span]] = defaultdict(list)
    for number, rate, line, micros, since, until in _asked(connection, RATES):
        end = now if until is None else _secs(until)
        if end is not None and end > _secs(since):
            found[number].append(Span(rate, line, micros, _secs(since), end))
    return found


def _hours(
    stored: Iterable[Any], lives: Iterable[Life], parts: int = 1
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the hours as they are told, and as they are reckoned: in micro-dollars per hour times seconds.

    `parts` is how many of these the money is told in.
    """
    told = {hour: (count, worked, sums) for hour, count, worked, sums in stored}
    counts, works, costs = Counter[int](), Counter[int](), defaultdict[int, Fraction](Fraction)
    for life in lives:
        for hour, (cost, worked) in life.hours().items():
            counts[hour] += 1
            works[hour] += worked
            costs[hour] += cost * HOUR
    return told, {hour: (counts[hour], works[hour], costs[hour] // parts) for hour in counts}


def _parted(what: str, told: Mapping[Any, object], reckoned: Mapping[Any, object]) -> str:
    for key in {**told, **reckoned}:
        said, is_ = told.get(key), reckoned.get(key)
        if said != is_ and (_any(said) or _any(is_)):
            return f"{what} of {key}: {said}, but the intervals say {is_}"
    return ""


def _any(sums: object) -> bool:
    """Say whether there is anything but nothing in a sum, or in some."""
    return any(sums) if isinstance(sums, tuple) else bool(sums)


def _shown(connection: Connection, view: str, now: int) -> Iterable[Any]:
    """Return what a view would show at another moment than that of the query."""
    return _asked(connection, views("sqlite")[view].replace(SQLITE.now, ":now"), now=now)


def _asked(connection: Connection, sql: str, **given: int) -> Iterable[Any]:
    return connection.exec_driver_sql(sql, given).all()


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY, UTC).date().isoformat()


def _hour(text: str) -> int:
    return _secs(text) // HOUR


def _secs(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _maybe(text: str | None) -> int | None:
    return None if text is None else _secs(text)
