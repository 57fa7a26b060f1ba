"""The loop: hold the lease, observe, plan, dispatch, wait; `step` is all a test needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from magister.control.dispatcher import Dispatcher
from magister.control.executor import Executor
from magister.control.lanes import Lanes
from magister.control.launcher import HOLD_CAP
from magister.control.observer import observe
from magister.domain.actions import Action, Plan
from magister.domain.instance import Held
from magister.domain.observed import Route
from magister.domain.spec import Fleet
from magister.planner.conditions import Condition, conditions
from magister.planner.decision_record import Decision
from magister.planner.plan import plan
from magister.store import pool, rental_history, transitions
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder

log = structlog.get_logger("magister.worker")

DOWN_AFTER = timedelta(seconds=10)
"""How long without a heartbeat after which the service may have been down: the web side's signs tell."""

EXCUSED_FOR = timedelta(hours=1)
"""So long after boxes were excused no others are, unless a worker has verified since."""

HEARD_WITHIN = timedelta(seconds=20)
"""How long a loop that begins waits for a web process to sign in before it calls that a trouble."""

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
    """Read the time: `wall` is aware and in UTC, `monotonic` is in seconds and never set back.

    `shared` is what all hosts tell the time by that sign in one database, if that is not `wall`.
    """

    wall: Callable[[], datetime]
    monotonic: Callable[[], float]
    shared: Callable[[Session, datetime], datetime] = lambda session, now: now


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
        self._fleet = fleet
        self._clock = clock
        self._rhythm = rhythm or Rhythm()
        self._dispatcher = Dispatcher(
            executor=executor,
            lanes=lanes,
            wait_secs=wait_secs,
            wall=clock.wall,
            backoff=self._rhythm.backoff,
        )
        self._fence: int | None = None
        self._standing_by = False
        self._last: tuple[datetime, float] | None = None
        self._pool: pool.PoolState | None = None
        self._beaten_at: datetime | None = None
        self._shown: tuple[Condition, ...] | None = None
        self._begun_at: datetime | None = None  # what was observed before does not count

    def step(self, now: datetime) -> Report:
        """Do what is to be done at `now`; never waits for Vast or for a route to open."""
        if not self._lease.hold(now):
            self._stand_by()
            return Report(acting=False)
        self._enter(now)
        begun: list[Action] = []
        for _ in range(ROUNDS):
            self._dispatcher.take_in()
            known = self._observe(now)
            if self._doubt_abandoned(known.held, now):
                known = self._observe(now)
            planned = plan(known.fleet, known.held, known.view, now)
            done = self._dispatcher.dispatch(planned.actions, known)
            begun += done.begun
            if done.lease_lost:
                log.warning("loop.lease_lost", fence=self._fence)
            if not done.again:
                break
        self._beat(known, planned)
        return Report(acting=True, begun=tuple(begun), deferred=done.deferred, next_at=planned.next_at)

    def _enter(self, now: datetime) -> None:
        """Start afresh under a new fence, and believe nothing from before a jump of the clock."""
        mono = self._clock.monotonic()
        if self._fence != self._lease.fence:
            self._dispatcher.forget()
            self._turn_back(now)
            self._begin_to_act(now)
            self._excuse(now)
            self._fence, self._standing_by = self._lease.fence, False
            self._dispatcher.memory.acting_since = self._begun_at = now
            log.info("loop.acting", fence=self._fence, why=self._lease.ground)
        elif self._last is not None:
            jump = (now - self._last[0]).total_seconds() - (mono - self._last[1])
            if abs(jump) > self._rhythm.clock_jump:
                log.warning("clock.jumped", seconds=round(jump, 1))
                self._dispatcher.forget()
                self._begun_at = now
                if jump > 0:
                    self._put_off(self._last[0], timedelta(seconds=jump))
                self._turn_back(now)
        self._last = (now, mono)

    def _begin_to_act(self, now: datetime) -> None:
        """Go on with what the loop before saw, unless it was away for so long that listings cannot tell."""
        with self._sessions.write() as session:
            pool.begin_to_act(session, now, gap=self._fleet.create_grace)

    def _excuse(self, now: datetime) -> None:
        """Excuse the boxes whose workers may have called while the service was down.

        A loop that is back within seconds was not missed, nor was one whose web side went on hearing. And
        what was excused is not excused again and again, or restarts would switch off the caution about a
        template that never works.
        """
        with self._sessions.write() as session:
            state = self._read_pool(session, now)
            beaten = state.heartbeat_at
            if beaten is None or abs(now - beaten) <= DOWN_AFTER:
                return
            gap = pool.missed_after(pool.deaf_after(self._fleet.beat_timeout))
            heard = pool.hearing_since(state, now, deaf_after=gap)
            if heard is not None and heard <= beaten + DOWN_AFTER:
                return
            if not rental_history.excused(session, now, EXCUSED_FOR):
                transitions.excuse_waiting(session)
                transitions.wait_anew(session, since=beaten, until=now + self._fleet.verify_within)

    def _turn_back(self, now: datetime) -> None:
        """Let no moment stand that only a clock which was ahead can have written."""
        with self._sessions.write() as session:
            transitions.turn_back(session, to=now, fleet=self._fleet)
            pool.turn_back(session, to=now, latest=now + HOLD_CAP)

    def _put_off(self, since: datetime, by: timedelta) -> None:
        """Let what was still to be waited for last as long as before the clock was set forward."""
        with self._sessions.write() as session:
            transitions.put_off(session, since=since, by=by)

    def _stand_by(self) -> None:
        if self._fence is not None:
            log.warning("loop.lease_lost", fence=self._fence)
            self._fence = None
            self._dispatcher.forget()
        if not self._standing_by:
            log.info("loop.standing_by", why="another loop acts; this one takes over when it ends")
        self._standing_by = True

    def _observe(self, now: datetime) -> Decision:
        with self._sessions.read() as session:
            self._pool = self._read_pool(session, now)
            reuse = self._rhythm.offer_reuse
            return observe(session, self._dispatcher.memory, self._pool, self._fleet, now, offer_reuse=reuse)

    def _read_pool(self, session: Session, now: datetime) -> pool.PoolState:
        return pool.told_by(pool.read(session), ahead=self._clock.shared(session, now) - now)

    def _doubt_abandoned(self, held: tuple[Held, ...], now: datetime) -> bool:
        """Leave creates whose answer nobody waits for to the listings; return whether there were any."""
        abandoned = self._executor.renter.abandoned(held)
        for row in abandoned:
            if self._executor.renter.doubt(row, now):
                log.warning("create.answer_lost", instance=row.id)
        return bool(abandoned)

    def _beat(self, known: Decision, planned: Plan) -> None:
        """Write the heartbeat and what is wrong: every few seconds, or at once when it changes."""
        fleet, held, view, now = known.fleet, known.held, known.view, known.now
        symptoms = self._dispatcher.memory.symptoms(fleet, held, view, now)
        begins = self._begun_at is not None and timedelta() <= now - self._begun_at < HEARD_WITHIN
        symptoms = replace(
            symptoms,
            held_back=len(planned.held_back),
            spared=len(planned.spared),
            deaf=symptoms.deaf and not begins,
        )
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
