"""The loop: hold the lease, observe, plan, dispatch, wait; `step` is all a test needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from magister import ledger, pool
from magister.actions import (
    Action,
    Adopt,
    Call,
    CallRoll,
    CheckAccount,
    Destroy,
    List,
    Look,
    Move,
    Plan,
    ReadBill,
    Rent,
    Search,
    Send,
)
from magister.conditions import Condition, conditions
from magister.database import Sessions
from magister.decision import Decision
from magister.errors import DatabaseReplaced, LeaseLost, Stale, Stopping, Transient
from magister.evidence import KNOWN
from magister.executor import Executor, Outcome
from magister.facts import Listing, Route
from magister.fleet import Fleet
from magister.held import Held
from magister.lanes import Lanes
from magister.lease import LeaseHolder
from magister.memory import Memory, fields_of, route_of
from magister.observer import observe
from magister.planner import plan
from magister.renting import HOLD_CAP

log = structlog.get_logger("magister.worker")

DATABASE_TROUBLE = (OperationalError, InterfaceError, TimeoutError, DatabaseReplaced)
"""What concerns no row in particular: a lock, a restart, a full disk, a broken connection, a lost file."""

DOWN_AFTER = 10.0
"""Seconds without a heartbeat after which the whole service is held to have been down."""

ROUNDS = 16
"""Plans in one step at most: each but the last followed a move that changed the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """Say how the loop keeps time; all in seconds but `backoff`."""

    tick: float = 0.5
    clock_jump: float = 5.0
    heartbeat: float = 5.0
    backoff: timedelta = timedelta(seconds=10)
    offer_reuse: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Clock:
    """Read the time: `wall` is aware and in UTC, `monotonic` is in seconds and never set back."""

    wall: Callable[[], datetime]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Report:
    """Tell what one step did: whether this loop acts, and what it began or could not begin yet."""

    acting: bool
    begun: tuple[Action, ...] = ()
    deferred: tuple[Action, ...] = ()
    next_at: datetime | None = None


class Worker:
    """Keep the pool: one step after another, as long as this loop holds the lease."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        executor: Executor,
        lease: LeaseHolder,
        lanes: Lanes,
        wait_secs: Callable[[Route], float],
        fleet: Fleet,
        clock: Clock,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._sessions = sessions
        self._executor = executor
        self._lease = lease
        self._lanes = lanes
        self._wait_secs = wait_secs
        self._fleet = fleet
        self._clock = clock
        self._rhythm = rhythm or Rhythm()
        self._memory = Memory()
        self._era = 0  # grows when what was observed before must not be believed any more
        self._outcomes: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self._fence: int | None = None
        self._standing_by = False
        self._last: tuple[datetime, float] | None = None
        self._pool: pool.PoolState | None = None
        self._beaten_at: datetime | None = None
        self._shown: tuple[Condition, ...] | None = None
        self._strange: set[str] = set()

    def step(self, now: datetime) -> Report:
        """Do what is to be done at `now`; never waits for Vast or for a route to open."""
        if not self._lease.hold(now):
            self._stand_by()
            return Report(acting=False)
        self._enter(now)
        begun: list[Action] = []
        for _ in range(ROUNDS):
            self._drain()
            known = self._observe(now)
            if self._doubt_abandoned(known.held, now):
                known = self._observe(now)
            planned = plan(known.fleet, known.held, known.view, now)
            started, deferred, again = self._dispatch(planned.actions, known)
            begun += started
            if not again:
                break
        self._beat(known, planned)
        return Report(acting=True, begun=tuple(begun), deferred=tuple(deferred), next_at=planned.next_at)

    def _enter(self, now: datetime) -> None:
        """Start afresh under a new fence, and believe nothing from before a jump of the clock."""
        mono = self._clock.monotonic()
        if self._fence != self._lease.fence:
            self._forget()
            self._turn_back(now)
            self._excuse(now)
            self._fence, self._standing_by = self._lease.fence, False
            log.info("loop.acting", fence=self._fence)
        elif self._last is not None:
            jump = (now - self._last[0]).total_seconds() - (mono - self._last[1])
            if abs(jump) > self._rhythm.clock_jump:
                log.warning("clock.jumped", seconds=round(jump, 1))
                self._forget()
                if jump > 0:
                    self._put_off(self._last[0], timedelta(seconds=jump))
                self._turn_back(now)
        self._last = (now, mono)

    def _excuse(self, now: datetime) -> None:
        """Excuse the boxes whose workers may have called while the service was down.

        A loop that is back within seconds was not missed; were that excused as well, restarts would
        switch off the caution about a template that never works.
        """
        with self._sessions.write() as session:
            beaten = pool.read(session).heartbeat_at
            if beaten is not None and abs((now - beaten).total_seconds()) > DOWN_AFTER:
                ledger.excuse_waiting(session)

    def _turn_back(self, now: datetime) -> None:
        """Let no moment stand that only a clock which was ahead can have written."""
        with self._sessions.write() as session:
            ledger.turn_back(session, to=now, fleet=self._fleet)
            pool.turn_back(session, to=now, latest=now + HOLD_CAP)

    def _put_off(self, since: datetime, by: timedelta) -> None:
        """Let what was still to be waited for last as long as before the clock was set forward."""
        with self._sessions.write() as session:
            ledger.put_off(session, since=since, by=by)

    def _forget(self) -> None:
        self._memory = Memory()
        self._era += 1

    def _stand_by(self) -> None:
        if self._fence is not None:
            log.warning("loop.lease_lost", fence=self._fence)
            self._fence = None
            self._forget()
        if not self._standing_by:
            log.info("loop.standing_by", why="another loop acts; this one takes over when it ends")
        self._standing_by = True

    def _observe(self, now: datetime) -> Decision:
        with self._sessions.read() as session:
            self._pool = pool.read(session)
            reuse = self._rhythm.offer_reuse
            return observe(session, self._memory, self._pool, self._fleet, now, offer_reuse=reuse)

    def _doubt_abandoned(self, held: tuple[Held, ...], now: datetime) -> bool:
        """Leave creates whose answer nobody waits for to the listings; return whether there were any."""
        abandoned = self._executor.renter.abandoned(held)
        for row in abandoned:
            if self._executor.renter.doubt(row, now):
                log.warning("create.answer_lost", instance=row.id)
        return bool(abandoned)

    def _dispatch(
        self, actions: tuple[Action, ...], known: Decision
    ) -> tuple[list[Action], list[Action], bool]:
        """Begin what can begin; return that, what has to wait, and whether to plan again at once."""
        begun: list[Action] = []
        deferred: list[Action] = []
        before = self._outcomes.qsize()
        again = False
        for action in actions:
            try:
                started = self._begin(action, known)
            except Stale:
                again = True
            except LeaseLost:
                log.warning("loop.lease_lost", fence=self._fence)
                return begun, [], False
            except DATABASE_TROUBLE:
                raise
            except Exception as error:
                self._set_aside(action, error)
            else:
                (begun if started else deferred).append(action)
                again = again or (started and isinstance(action, Move | Adopt))
        if any(isinstance(action, Adopt) for action in begun):
            self._memory.strangers = ()
        return begun, deferred, again or self._outcomes.qsize() > before

    def _begin(self, action: Action, known: Decision) -> bool:
        """Carry out what needs the database only; start a call if its route is free."""
        if isinstance(action, Move | Adopt):
            self._executor.settle(action, known.now)
            tell(action)
            return True
        route = route_of(action)
        if self._lanes.busy(route) or self._wait_secs(route) > 0:
            return False
        tell(action)
        call = self._executor.renter.intend(action, known) if isinstance(action, Rent) else action
        era = self._era
        self._lanes.start(route, lambda: self._carry_out(call, era))
        return True

    def _carry_out(self, call: Call, era: int) -> None:
        """Make a call in its lane; an error nobody thought of is kept with what it was about."""
        try:
            self._outcomes.put((era, self._executor.call(call)))
        except (Stale, LeaseLost, Stopping) as error:
            log.info("call.not_made", why=str(error), **fields_of(call))
        except DATABASE_TROUBLE as error:
            log.warning("call.database_trouble", error=in_a_line(error), **fields_of(call))
        except Exception as error:
            self._set_aside(call, error)
            unexpected = Transient(f"unexpected {type(error).__name__}, see the log")
            self._outcomes.put((era, Outcome(action=call, at=self._clock.wall(), error=unexpected)))

    def _set_aside(self, action: Action, error: Exception) -> None:
        """Record an error that one row, offer or box causes, and go on without it for a while."""
        log.error("action.failed", exc_info=error, **fields_of(action))
        if isinstance(action, Move):  # calls are pushed back by their row
            self._memory.set_aside[action.row.id] = self._clock.wall() + timedelta(minutes=1)
        if isinstance(action, Send | Destroy | Look | Move):
            try:
                self._executor.hold_back(action.row, error, self._clock.wall())
            except DATABASE_TROUBLE as trouble:
                log.warning("call.database_trouble", error=in_a_line(trouble), **fields_of(action))
        elif isinstance(action, Rent | Adopt):
            self._memory.pass_over(action)

    def _drain(self) -> None:
        while True:
            try:
                era, outcome = self._outcomes.get_nowait()
            except Empty:
                return
            if outcome.listing is not None:
                self._tell_news(outcome.listing)
            if era == self._era:
                self._memory.take(outcome, backoff=self._rhythm.backoff)
                if outcome.error is not None:
                    fields = fields_of(outcome.action)
                    log.warning(
                        "call.failed", route=route_of(outcome.action), error=str(outcome.error), **fields
                    )

    def _tell_news(self, listing: Listing) -> None:
        """Log each status that nobody knows, once in the life of the process."""
        statuses = {box.actual_status for box in listing.sightings if box.actual_status is not None}
        for status in sorted(statuses - KNOWN - self._strange):
            log.warning("vast.status_never_seen", status=status, treated_as="unknown")
        self._strange |= statuses - KNOWN

    def _beat(self, known: Decision, planned: Plan) -> None:
        """Write the heartbeat and what is wrong: every few seconds, or at once when it changes."""
        fleet, held, view, now = known.fleet, known.held, known.view, known.now
        symptoms = self._memory.symptoms(fleet, held, view, now)
        symptoms = replace(symptoms, held_back=len(planned.held_back))
        current = conditions(fleet, held, symptoms, now)
        beaten = self._beaten_at
        fresh = beaten is not None and timedelta() <= now - beaten < timedelta(seconds=self._rhythm.heartbeat)
        if fresh and current == self._shown:
            return
        for condition in current:
            if condition not in (self._shown or ()):
                log.warning("pool.condition", what=condition.what, cure=condition.cure)
        with self._sessions.write() as session:
            pool.beat(session, now, target=self._fleet.target, conditions=current)
        self._beaten_at, self._shown = now, current


def tell(action: Action) -> None:
    """Log what was begun; mere looks only for whoever wants to see everything."""
    event = f"begun.{type(action).__name__.lower()}"
    tell = (
        log.debug
        if isinstance(action, List | Look | Search | CheckAccount | CallRoll | ReadBill)
        else log.info
    )
    tell(event, why=action.why, **fields_of(action))


def in_a_line(error: SQLAlchemyError | DatabaseReplaced) -> str:
    """Return what the database said, in a line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
