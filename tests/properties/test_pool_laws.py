"""Whatever operators, time, faults and crashes do: nothing is lost, nothing doubled, and the pool heals."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from magister.database import Sessions
from magister.errors import (
    Ambiguous,
    BadKey,
    IncompleteListing,
    NoCredit,
    NotSent,
    OfferGone,
    RateLimited,
    Refused,
    Transient,
    VastError,
)
from magister.models import Table, Transition
from magister.states import State, legal
from tests.builders import a_fleet, an_offer
from tests.controller import Controller

CREATE_UNDONE: list[VastError] = [
    OfferGone(),
    NoCredit(),
    Refused("no"),
    RateLimited(),
    NotSent(),
    BadKey(),
    Ambiguous(),
]
HAPPENINGS = [
    *["nothing", "verified"] * 3,
    "restart",
    "change_of_target",
    "drop",
    "status",
    "console_delete",
    "creates_undone",
    "answers_lost",
    "destroys_fail",
    "destroys_unheard",
    "listings_fail",
    "reads_fail",
    "listings_lag",
    "listings_catch_up",
]
STATUSES = ["running", "exited", "offline", "unknown", "loading", None]


class Crash(BaseException):
    """The process died here: nothing may catch it."""


@dataclass
class Boundaries:
    """Count the boundaries between effects, and die at the one that was chosen."""

    dies_at: int | None = None
    passed: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        if self.dies_at is None:
            return
        self.passed.append(name)
        if len(self.passed) > self.dies_at:
            self.dies_at = None
            raise Crash(name)


class MortalSessions(Sessions):
    """Sessions that may die before and after each commit."""

    boundary: Boundaries

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session:
            yield session
            self.boundary("before a commit")
        self.boundary("after a commit")


def a_database() -> MortalSessions:
    """Make an empty database in memory, with the rows that a migration makes."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    Table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO pool (id) VALUES (1)"))
        connection.execute(text("INSERT INTO lease VALUES (1, '', 0, '1970-01-01 00:00:00', 0)"))
    return MortalSessions(engine)


class Pool(RuleBasedStateMachine):
    """An operator, a coordinator, workers, a faulty Vast and a mortal process, in any order.

    There is one rule, which lets something happen and then steps: with a rule for each happening,
    most runs would be spent on happenings that nobody notices.
    """

    @initialize(wanted=st.integers(1, 4))
    def begin(self, wanted: int) -> None:
        self.boundary = Boundaries()
        sessions = a_database()
        object.__setattr__(sessions, "boundary", self.boundary)
        self.pool = Controller(sessions, fleet=a_fleet(target=wanted))
        self.pool.vast.boundary = self.boundary
        self.pool.vast.stock(an_offer() for _ in range(300))
        self.allowed = wanted

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.heal()
        self.pool.sessions.engine.dispose()

    @rule(
        happening=st.sampled_from(HAPPENINGS),
        which=st.integers(0, 7),
        seconds=st.sampled_from([0.5, 5, 30, 60, 200]),
        dies_at=st.none() | st.integers(0, 30),
    )
    def happen(self, happening: str, which: int, seconds: float, dies_at: int | None) -> None:
        getattr(self, happening)(which)
        self.boundary.passed.clear()
        self.boundary.dies_at = dies_at
        try:
            self.pool.step(seconds)
        except Crash:
            self.pool.restart()
        self.boundary.dies_at = None

    def nothing(self, which: int) -> None:
        """Let time pass."""

    def restart(self, which: int) -> None:
        self.pool.restart()

    def change_of_target(self, which: int) -> None:
        self.allowed = max(which % 5, len(self.pool.vast.boxes))
        self.pool.restart(target=which % 5)

    def verified(self, which: int) -> None:
        self.pool.verify_all()

    def drop(self, which: int) -> None:
        live = self.pool.rows(State.REQUESTED, State.CREATED, State.VERIFIED)
        if live:
            self.pool.drop(live[which % len(live)])

    def status(self, which: int) -> None:
        contracts = sorted(self.pool.vast.boxes)
        for contract in contracts[which % 4 : which % 4 + 1]:
            self.pool.vast.change(contract, actual_status=STATUSES[which % len(STATUSES)])

    def console_delete(self, which: int) -> None:
        contracts = sorted(self.pool.vast.boxes)
        if contracts:
            self.pool.vast.lose(contracts[which % len(contracts)])

    def creates_undone(self, which: int) -> None:
        self.pool.vast.before("create", CREATE_UNDONE[which % len(CREATE_UNDONE)])

    def answers_lost(self, which: int) -> None:
        self.pool.vast.after("create", *[Ambiguous("reset")] * (1 + which % 3))

    def destroys_fail(self, which: int) -> None:
        error = Transient("503") if which % 2 else RateLimited()
        self.pool.vast.before("destroy", *[error] * (1 + which % 3))

    def destroys_unheard(self, which: int) -> None:
        self.pool.vast.after("destroy", Transient("reset"))

    def listings_fail(self, which: int) -> None:
        error = IncompleteListing() if which % 2 else Transient("timeout")
        self.pool.vast.before("listing", *[error] * (1 + which % 3))

    def reads_fail(self, which: int) -> None:
        self.pool.vast.before(("search", "show", "account")[which % 3], Transient("502"))

    def listings_lag(self, which: int) -> None:
        self.pool.vast.lag = 30.0 * which

    def listings_catch_up(self, which: int) -> None:
        self.pool.vast.lag = 0.0

    @invariant()
    def never_more_boxes_than_allowed(self) -> None:
        assert len(self.pool.vast.boxes) <= self.allowed

    @invariant()
    def no_key_has_two_boxes(self) -> None:
        assert all(n == 1 for n in Counter(self.pool.vast.live_labels()).values())

    @invariant()
    def every_box_has_a_row_that_still_counts(self) -> None:
        live = {f"magister:{row.key}" for row in self.pool.rows() if row.live}
        assert set(self.pool.vast.live_labels()) <= live

    @invariant()
    def the_history_replays_to_the_rows(self) -> None:
        with self.pool.sessions.read() as session:
            moves = session.scalars(select(Transition).order_by(Transition.id)).all()
        at: dict[int, State | None] = {}
        for move in moves:
            assert move.from_state == at.get(move.instance_id)
            assert legal(move.from_state, move.to_state)
            at[move.instance_id] = move.to_state
        assert at == {row.id: row.state for row in self.pool.rows()}

    def heal(self) -> None:
        """Let the faults stop: the pool must come to exactly what is wanted."""
        vast = self.pool.vast
        vast.before_nothing()
        vast.lag = 0.0
        for contract in vast.boxes:
            vast.change(contract, actual_status="running")
        for _ in range(45):
            self.pool.step(20)
            self.pool.verify_all()
        self.pool.step(1)
        assert len(vast.boxes) == self.pool.fleet.target
        assert len(self.pool.rows(State.VERIFIED)) == self.pool.fleet.target
        live = [row for row in self.pool.rows() if row.live]
        assert {row.contract_id for row in live} == set(vast.boxes)


SOAKING = settings.get_current_profile_name() == "soak"

TestPool = Pool.TestCase
TestPool.settings = settings(
    max_examples=200 if SOAKING else 30,
    stateful_step_count=40,
    phases=[Phase.generate],  # shrinking a life of forty events takes minutes; the log of one is readable
)
