"""The whole controller over a scriptable Vast: real database, inline lanes, a clock that the test moves."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from magister.control.executor import Executor
from magister.control.lanes import InlineLanes
from magister.control.launcher import Renter
from magister.control.reconciler import Clock, Report, Worker
from magister.domain.instance import Held
from magister.domain.observed import Order
from magister.domain.spec import Fleet
from magister.states import Reason, State
from magister.store import instances as rows
from magister.store import pool, transitions
from magister.store.db.engine import Sessions
from magister.store.db.lease import KernelLock, LeaseHolder
from magister.store.db.models import Instance, Transition
from tests.builders import ADDRESS, a_fleet
from tests.fakes import FakeClock, FakeHierophant, FakeVast


class FreeLock:
    """A kernel lock that is free whenever it is asked for: its last holder is always dead."""

    def take(self) -> bool:
        return True

    def release(self) -> None:
        pass


@dataclass
class Controller:
    """Run a pool step by step; `restart` makes a new process on the same database."""

    sessions: Sessions
    clock: FakeClock = field(default_factory=FakeClock)
    fleet: Fleet = field(default_factory=a_fleet)
    lock: KernelLock = field(default_factory=FreeLock)
    listens: bool = True  # a web process signs before each step
    steady: bool = False  # it has signed without a gap, so silence proves something

    def __post_init__(self) -> None:
        self._signed_at: datetime | None = None
        self.vast = FakeVast(clock=self.clock)
        self.hierophant = FakeHierophant(self.clock)
        self.clock_of_worker = Clock(self.clock.wall, self.clock.monotonic)
        self.restart()

    def restart(self, **wanted: object) -> None:
        """Die without a word and begin a new process: nothing is remembered but what SQL holds."""
        self.fleet = replace(self.fleet, **wanted)  # type: ignore[arg-type] # names are Fleet's
        self.lease = LeaseHolder(
            self.sessions,
            self.lock,
            holder=uuid4().hex,
            lasts=timedelta(seconds=30),
            renew=timedelta(seconds=10),
        )
        renter = Renter(
            sessions=self.sessions,
            vast=self.vast,
            lease=self.lease,
            fleet=self.fleet,
            order=self.order,
            clock=self.clock.wall,
        )
        self.executor = Executor(
            sessions=self.sessions,
            vast=self.vast,
            hierophant=self.hierophant,
            lease=self.lease,
            fleet=self.fleet,
            renter=renter,
            clock=self.clock.wall,
        )
        self.worker = Worker(
            sessions=self.sessions,
            executor=self.executor,
            lease=self.lease,
            lanes=InlineLanes(),
            wait_secs=self.vast.wait_secs,
            fleet=self.fleet,
            clock=self.clock_of_worker,
        )

    def order(self, row: Held) -> Order:
        """Return the order of one row, as the composition does."""
        key = "" if row.callback_key is None else f"?key={row.callback_key}"
        onstart = f"export MAGISTER_DROP_ENDPOINT={ADDRESS}/drop/{row.offer_id}{key}"
        return Order(template_hash="hash", label=f"magister:{row.key}", disk=16, onstart=onstart)

    def step(self, seconds: float = 0) -> Report:
        """Move the clock, let a web process sign in, then step once."""
        now = self.clock.advance(seconds)
        if self.listens:
            self.sign()
        return self.worker.step(now)

    def sign(self) -> None:
        """Let a web process sign that it hears workers, as one that just began: so silence proves nothing.

        In a test that is about silence it is `steady`, and where a test signs by itself its signs go on.
        """
        with suppress(SQLAlchemyError), self.sessions.write() as session:
            now = self.clock_of_worker.shared(session, self.clock.now)
            alone = not self.steady and pool.read(session).heard_at == self._signed_at
            gap = timedelta() if alone else pool.deaf_after(self.fleet.beat_timeout)
            pool.note_hearing(session, now, deaf_after=gap)
            self._signed_at = now

    def run(self, seconds: float, every: float = 5) -> None:
        """Step again and again for a while."""
        for _ in range(int(seconds / every)):
            self.step(every)

    def verify_all(self) -> None:
        """Let the worker in every box that waits for it call /verify."""
        labels = set(self.vast.live_labels())
        for row in self.rows(State.CREATED, State.REQUESTED):
            if f"magister:{row.key}" in labels:
                self.verify(row)

    def verify(self, row: Held) -> None:
        """Let the worker of one row call /verify."""
        self._move(row, State.VERIFIED, Reason.CALLED, "the worker called /verify")

    def filled(self) -> "Controller":
        """Fill the pool, verify every worker, and let a listing show every box."""
        self.step()
        self.verify_all()
        self.step(5)
        assert len(self.rows(State.VERIFIED)) == self.fleet.target
        return self

    def drop(self, row: Held, why: str = "a test") -> None:
        """Send the coordinator's DELETE for one row."""
        self._move(row, State.DROPPING, Reason.COORDINATOR, why)

    def rows(self, *states: State) -> list[Held]:
        """Return the rows in these states, or all, oldest first."""
        query = select(Instance).order_by(Instance.id)
        with self.sessions.read() as session:
            found = session.scalars(query.where(Instance.state.in_(states)) if states else query)
            return [rows.as_held(row) for row in found]

    def row(self, instance_id: int) -> Held:
        """Return one row as it is now."""
        with self.sessions.read() as session:
            found = rows.one(session, instance_id)
        assert found is not None
        return found

    def story(self, instance_id: int) -> list[tuple[State, Reason]]:
        """Return the moves of one instance, oldest first."""
        with self.sessions.read() as session:
            query = select(Transition).where(Transition.instance_id == instance_id).order_by(Transition.id)
            return [(move.to_state, move.reason) for move in session.scalars(query)]

    def _move(self, row: Held, to: State, reason: Reason, why: str) -> None:
        current = self.row(row.id)
        with self.sessions.write() as session:
            transitions.move(session, current, to, reason, actor="test", why=why, at=self.clock.now)
