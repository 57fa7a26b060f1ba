"""The pool as an operator wants to see it at a glance; the page and the command `status` both show this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from magister.domain import cost
from magister.domain.spec import Fleet
from magister.money import Outlay
from magister.planner.budget import Cap
from magister.reports import overview as reports
from magister.reports import queries
from magister.reports.overview import Event, Glance, Overview
from magister.reports.pool_story import Standing
from magister.reports.readiness import Readiness
from magister.reports.warnings import doubts
from magister.states import WANTED, State
from magister.store import cost_ledger, pool
from magister.store.accounting import spending
from magister.store.db.lease import LeaseHolder
from magister.store.db.models import Instance
from magister.store.db.models_accounting import InstanceTotal

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
    costs: Mapping[int, int]  # so far, by the id of the row, of those that are not proved gone
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
    seen = reports.glance(session, now)
    standing = queries.standing(session, fleet, seen, stale_after)
    lives = spending.living(session, now)
    listens_for = pool.deaf_after(fleet.beat_timeout)
    signed = pool.told_by(seen.state, ahead=LeaseHolder.time(session, now) - now)
    heard_from = pool.hearing_since(signed, now, deaf_after=listens_for)
    doubtful = {
        row.id: doubts(row, fleet, standing.quarantines, now, heard_from=heard_from) for row in seen.held
    }
    return Dashboard(
        overview=seen.overview(reports.history(session, last)),
        readiness=seen.readiness(stale_after),
        standing=standing,
        spent=spending.spent(session, lives, now),
        costs={one.id: one.cost for one in lives},
        work=_work(session, seen),
        doubts={row: said for row, said in doubtful.items() if said},
        lost=tuple(_lost(reports.history(session, MOVES)))[:lost],
    )


def _lost(moves: tuple[Event, ...]) -> Iterator[Event]:
    for move in reversed(moves):
        existed = move.instance_id is not None or move.from_state is State.VERIFIED
        if existed and move.from_state in WANTED and move.to_state not in WANTED:
            yield move


def _work(session: Session, seen: Glance) -> Work:
    """Add up the last boxes: what was stored of those that are settled, and the rates of the others.

    The view of all costs says the same, but only after it has read what every box ever moved.
    """
    since = (session.scalar(select(func.max(Instance.id))) or 0) - LATELY
    sums = select(func.sum(InstanceTotal.micros), func.sum(InstanceTotal.worked_seconds))
    micros, seconds = session.execute(sums.where(InstanceTotal.instance_id > since)).one()
    total = Work(int(micros or 0), int(seconds or 0))
    living = [view for view in seen.instances if view.id > since]
    known = cost_ledger.intervals(session, [view.id for view in living])
    for view in living:
        at_work = cost.Work(view.verified_at, view.dropped_at or seen.at)
        came_to = cost.total(known.get(view.id, ()), at_work, seen.at)
        total = Work(total.micros + came_to.micros, total.seconds + came_to.worked)
    return total
