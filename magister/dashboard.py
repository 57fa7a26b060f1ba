"""The pool as an operator wants to see it at a glance; the page and the command `status` both show this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from magister import books, chronicle, pool, reports, rows, spending
from magister.budget import Cap
from magister.doubts import doubts
from magister.fleet import Fleet
from magister.models import Instance
from magister.money import Outlay
from magister.rates import Interval, Line, whole
from magister.reports import Event, Overview, Readiness
from magister.standing import Standing
from magister.states import WANTED, State

LATELY = 500
"""The last boxes by which the price of an hour of work is told."""

MOVES = 200
"""Last moves in which what was lost is looked for."""


@dataclass(frozen=True, slots=True)
class Work:
    """Hold what the LATELY last boxes cost, in micro-dollars, and the seconds for which they worked."""

    micros: int
    seconds: int

    @property
    def hourly(self) -> int | None:
        """Return what an hour of work came to, in micro-dollars; None = nothing has worked yet."""
        return self.micros * 3600 // self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Show the pool at a moment; `doubts` by the id of a row, which is not in it if there are none."""

    overview: Overview
    readiness: Readiness
    standing: Standing
    spent: Outlay
    work: Work
    doubts: Mapping[int, tuple[str, ...]]
    lost: tuple[Event, ...]  # what left the pool lately, the newest first

    @property
    def caps(self) -> tuple[Cap, ...]:
        """Return the caps that are set, that by the hour first; its `spent` is what the pool costs now."""
        hourly = self.standing.hourly
        first = () if hourly is None else (Cap("budget.usd_per_hour", hourly, self.standing.rate, 0),)
        return (*first, *self.standing.caps)

    @property
    def runway(self) -> float | None:
        """Return for how many hours the credit lasts; None = it is not known, or nothing costs."""
        credit, rate = self.standing.credit, self.standing.rate
        return None if credit is None or not rate else max(credit, 0) / rate


def dashboard(
    session: Session, fleet: Fleet, now: datetime, stale_after: timedelta, *, last: int, lost: int
) -> Dashboard:
    """Return the pool at `now`, with its `last` moves and the last `lost` boxes."""
    standing = chronicle.standing(session, fleet, now, stale_after)
    heard_from, held = _heard_from(session, now), rows.held(session)
    doubtful = {row.id: doubts(row, fleet, standing.quarantines, now, heard_from=heard_from) for row in held}
    return Dashboard(
        overview=reports.overview(session, now, last=last),
        readiness=reports.readiness(session, now, stale_after),
        standing=standing,
        spent=spending.spent(session, now),
        work=_work(session, now),
        doubts={row: said for row, said in doubtful.items() if said},
        lost=tuple(_lost(reports.history(session, MOVES)))[:lost],
    )


def _heard_from(session: Session, now: datetime) -> datetime | None:
    """Return since when the web side hears workers without a gap; None = it does not hear them now."""
    state = pool.read(session)
    deaf = state.heard_at is None or now - state.heard_at > pool.DEAF_AFTER
    return None if deaf else state.hearing_since


def _lost(moves: tuple[Event, ...]) -> Iterator[Event]:
    for move in reversed(moves):
        existed = move.instance_id is not None or move.from_state is State.VERIFIED
        if existed and move.from_state in WANTED and move.to_state not in WANTED:
            yield move


def _work(session: Session, now: datetime) -> Work:
    newest = session.scalar(select(func.max(Instance.id))) or 0
    lately = Instance.id > newest - LATELY
    query = select(Instance.id, Instance.verified_at, Instance.dropped_at, Instance.destroyed_at)
    paid = books.intervals(session, select(Instance.id).where(lately))
    micros = seconds = 0
    for instance, verified, dropped, destroyed in session.execute(query.where(lately)):
        kept = paid.get(instance, ())
        micros += sum(one.micros * _overlap(one, None, now) for one in kept) // 3600
        if verified is not None:
            gpus = (one for one in kept if one.line is Line.GPU)
            seconds += sum(_overlap(one, verified, dropped or destroyed or now) for one in gpus)
    return Work(micros, seconds)


def _overlap(paid: Interval, begin: datetime | None, end: datetime) -> int:
    """Return for how many whole seconds between two moments a rate was paid; None = from its beginning."""
    first = paid.begins_at if begin is None else max(paid.begins_at, whole(begin))
    last = whole(end) if paid.ends_at is None else min(paid.ends_at, whole(end))
    return max(int((last - first).total_seconds()), 0)
