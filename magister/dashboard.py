"""The pool as an operator wants to see it at a glance; the page and the command `status` both show this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from magister import chronicle, pool, reports, rows, spending
from magister.budget import Cap
from magister.doubts import doubts
from magister.fleet import Fleet
from magister.models import Instance
from magister.money import Outlay
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
    listens_for = pool.deaf_after(fleet.beat_timeout)
    heard_from = pool.hearing_since(pool.read(session), now, deaf_after=listens_for)
    held = rows.held(session)
    doubtful = {row.id: doubts(row, fleet, standing.quarantines, now, heard_from=heard_from) for row in held}
    return Dashboard(
        overview=reports.overview(session, now, last=last),
        readiness=reports.readiness(session, now, stale_after),
        standing=standing,
        spent=spending.spent(session, now),
        work=_work(session),
        doubts={row: said for row, said in doubtful.items() if said},
        lost=tuple(_lost(reports.history(session, MOVES)))[:lost],
    )


def _lost(moves: tuple[Event, ...]) -> Iterator[Event]:
    for move in reversed(moves):
        existed = move.instance_id is not None or move.from_state is State.VERIFIED
        if existed and move.from_state in WANTED and move.to_state not in WANTED:
            yield move


def _work(session: Session) -> Work:
    newest = session.scalar(select(func.max(Instance.id))) or 0
    asked = text("SELECT SUM(micros), SUM(worked_seconds) FROM instance_cost WHERE instance_id > :since")
    micros, seconds = session.execute(asked, {"since": newest - LATELY}).one()
    return Work(int(micros or 0), int(seconds or 0))
