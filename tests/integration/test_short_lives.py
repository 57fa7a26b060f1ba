"""Workers that verify and end within a minute: each such rental counts as a failed one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from magister.domain.instance import Held
from magister.domain.risk.launch_breaker import Caution
from magister.planner.conditions import Condition
from magister.states import Reason, State
from magister.store import pool, rental_history, requests, transitions
from magister.store.db.engine import Sessions
from tests.builders import ADDRESS, a_fleet, an_offer
from tests.controller import Controller

TARGET = 4
HOURS = 3
LIFE = 45.0
"""Seconds from the verification of a worker to its end."""

NEVER_VERIFIED = 13
"""So many rentals a pool of four makes in three hours if no worker ever verifies."""

WAYS = ("exits", "falls silent", "is dropped", "is forgotten", "vanishes")


@dataclass
class Short:
    """Run a pool whose workers verify after `boot` seconds and end in one way after `life` seconds more.

    Both are asked for each instance, by its number; a `boot` of None never verifies. While a worker lives its
    instance sends a heartbeat each half minute, and Hierophant lists it. Of a worker that is forgotten the
    list alone tells: its instance cannot send heartbeats, which would outweigh the list.
    """

    sessions: Sessions
    way: str
    life: Callable[[int], float] = lambda number: LIFE
    boot: Callable[[int], float | None] = lambda number: 30.0 + number * 37 % 60
    target: int = TARGET
    wanted: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        roster = {"roster_every": timedelta(seconds=60)} if self.way == "is forgotten" else {}
        fleet = a_fleet(target=self.target, **(roster | self.wanted))
        self.pool = Controller(self.sessions, fleet=fleet, steady=True)
        self.pool.vast.stock(an_offer() for _ in range(400))
        self.ended: set[int] = set()
        self.kinds: set[str] = set()
        self.shown: list[Condition] = []
        self.told: list[str] = []

    def run(self, minutes: float) -> None:
        """Let so much time pass."""
        for _ in range(int(minutes * 2)):
            self.pool.step(30)
            for row in self.pool.rows(State.CREATED, State.VERIFIED):
                self._live(row)
            self._look()

    def rentals(self) -> int:
        """Count all instances that were ever rented."""
        return len(self.pool.vast.created)

    def working(self) -> int:
        """Count the instances whose worker verified and has not ended."""
        return sum(row.id not in self.ended for row in self.pool.rows(State.VERIFIED))

    def conditions(self) -> dict[str, Condition]:
        """Return what is wrong now, by kind."""
        return {condition.kind: condition for condition in self.shown}

    def _live(self, row: Held) -> None:
        now = self.pool.clock.now
        if row.state is State.CREATED:
            boot = self.boot(row.id)
            if boot is not None and row.created_at and now >= row.created_at + timedelta(seconds=boot):
                if self.way != "is forgotten":
                    self._announce(row, now)
                self.pool.verify(row)
                self.pool.hierophant.living.add(self._address(row))
            return
        due = (row.verified_at or now) + timedelta(seconds=self.life(row.id))
        if now >= due and row.id not in self.ended:
            self.ended.add(row.id)
            self._end(row)
        if row.id not in self.ended and self.way != "is forgotten":
            self._beat(row, now)

    def _end(self, row: Held) -> None:
        if self.way != "falls silent":
            self.pool.hierophant.living.discard(self._address(row))
        if self.way == "exits" and row.contract_id in self.pool.vast.boxes:
            self.pool.vast.change(row.contract_id, actual_status="exited")
        elif self.way == "vanishes" and row.contract_id is not None:
            self.pool.vast.boxes.pop(row.contract_id, None)
        elif self.way == "is dropped":
            self.pool.drop(row)

    def _announce(self, row: Held, now: datetime) -> None:
        with self.sessions.write() as session:
            requests.announce(session, row.offer_id, key=row.callback_key, now=now)

    def _beat(self, row: Held, now: datetime) -> None:
        current = self.pool.row(row.id)
        if current.state is State.VERIFIED:
            with self.sessions.write() as session:
                transitions.hear(session, current, at=now)

    def _address(self, row: Held) -> str:
        return f"{ADDRESS}/drop/{row.offer_id}?key={row.callback_key}"

    def _look(self) -> None:
        with self.sessions.read() as session:
            self.shown = list(pool.read(session).conditions)
        self.kinds |= {condition.kind for condition in self.shown}
        self.told += [condition.what for condition in self.shown]


def never(sessions: Sessions) -> Short:
    """Return a pool whose workers never verify."""
    return Short(sessions, "exits", boot=lambda number: None)


def failures(short: Short) -> int:
    """Count the rentals that failed since a worker verified and lived on."""
    caution = short.pool.fleet.caution
    with short.sessions.read() as session:
        now = short.pool.clock.now
        return rental_history.outlook(session, now, short_life=caution.short_life).failures


@pytest.mark.parametrize("way", WAYS)
def test_workers_that_end_within_a_minute_cost_few_more_rentals_than_workers_that_never_verify(
    sqlite_sessions: Sessions, way: str
) -> None:
    """While Hierophant forgets all of them it proves nothing, so that there one worker lives on."""
    lives = (lambda number: 1e9 if number == 1 else LIFE) if way == "is forgotten" else (lambda number: LIFE)
    short = Short(sqlite_sessions, way, life=lives)
    short.run(HOURS * 60)
    assert short.rentals() <= NEVER_VERIFIED + 6
    told = [what for what in short.told if "verified, but ended within 5 min" in what]
    assert len(told) > 100, "the condition is shown for most of the time"


def test_workers_that_never_verify_are_what_it_is_measured_by(sqlite_sessions: Sessions) -> None:
    short = never(sqlite_sessions)
    short.run(HOURS * 60)
    assert short.rentals() == NEVER_VERIFIED


def test_one_short_life_stops_nothing(sessions: Sessions) -> None:
    short = Short(sessions, "exits", life=lambda number: LIFE if number == 2 else 1e9, target=6)
    short.run(10)
    assert (short.rentals(), short.working()) == (7, 6)
    assert "rentals_fail" not in short.kinds


def test_a_pool_fills_again_once_a_worker_has_lived_on(sqlite_sessions: Sessions) -> None:
    mended = 10
    short = Short(sqlite_sessions, "is dropped", life=lambda number: 1e9 if number >= mended else LIFE)
    while short.rentals() < mended:
        short.run(0.5)
    assert short.conditions()["rentals_fail"].what.startswith("the last 9 rentals failed")
    short.run(5)
    assert short.rentals() == mended, "one that verified shows nothing before it has lived on"
    assert "is watched until" in short.conditions()["rentals_fail"].what
    short.run(5)
    assert (short.working(), short.rentals()) == (TARGET, mended + TARGET - 1)
    assert short.conditions() == {}


def test_a_worker_that_verifies_ends_the_caution_at_once_where_none_ended_soon(
    sqlite_sessions: Sessions,
) -> None:
    short = Short(
        sqlite_sessions, "exits", life=lambda number: 1e9, boot=lambda number: 30.0 if number > 5 else None
    )
    while short.rentals() < 6:
        short.run(0.5)
    short.run(2.5)
    assert (short.working(), short.rentals()) == (TARGET, 5 + TARGET)


@pytest.mark.parametrize("reason", [Reason.OPERATOR, Reason.SURPLUS, Reason.BUDGET])
def test_an_end_for_which_the_instance_is_not_at_fault_is_no_short_life(
    sessions: Sessions, reason: Reason
) -> None:
    short = Short(sessions, "exits", life=lambda number: 1e9)
    short.run(2)
    with sessions.write() as session:
        for row in short.pool.rows(State.VERIFIED):
            now = short.pool.clock.now
            transitions.move(session, row, State.DROPPING, reason, actor="test", why="a test", at=now)
    assert failures(short) == 0


@pytest.mark.parametrize("ends", [True, False])
def test_the_end_of_a_contract_is_no_short_life(sessions: Sessions, *, ends: bool) -> None:
    short = Short(sessions, "exits", life=lambda number: 1e9, target=1)
    short.run(2)
    (row,) = short.pool.rows(State.VERIFIED)
    now = short.pool.clock.now
    with sessions.write() as session:
        transitions.learn(session, row, end_date=now if ends else now + timedelta(days=1))
        transitions.move(session, row, State.DROPPING, Reason.EXITED, actor="test", why="a test", at=now)
    assert failures(short) == (0 if ends else 1)


def test_short_lives_at_once_in_a_young_pool_hold_nothing_back_once_the_canary_verifies(
    sessions: Sessions,
) -> None:
    """The coordinator restarts two minutes after the pool was filled, and all workers exit."""
    short = Short(sessions, "exits", life=lambda number: 75.0 if number <= TARGET else 1e9)
    short.run(8.5)
    assert short.conditions().keys() == {"losses_at_once"}
    short.run(6.5)
    assert (short.working(), short.rentals()) == (TARGET, 2 * TARGET)
    assert "rentals_fail" not in short.kinds


def test_without_a_threshold_a_worker_that_verified_has_not_failed(sqlite_sessions: Sessions) -> None:
    caution = Caution(short_life=timedelta())
    short = Short(sqlite_sessions, "is dropped", wanted={"caution": caution})
    short.run(30)
    assert short.rentals() > NEVER_VERIFIED
    assert failures(short) == 0
