"""Two hosts whose clocks disagree keep one pool: no drop waits for the other clock, no box is lost."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from magister.control.loop import OVERLAP
from magister.states import Reason, State
from magister.store import instances, pool, transitions
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder
from magister.web import liveness
from tests.builders import NOW, a_fleet, an_offer
from tests.controller import Controller
from tests.fakes import FakeClock

TARGET = 2
STEP = 10.0
SKEWS = [timedelta(minutes=-5), timedelta(minutes=5)]


@dataclass
class Hosts:
    """Run a controller on each of two hosts; time passes for both, and their clocks stay apart."""

    acting: Controller
    other: Controller

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and all loops step that are still alive."""
        for _ in range(int(seconds / STEP)):
            self.acting.step(STEP)
            if self.other is not self.acting:
                self.other.step(STEP)

    def take_over(self) -> None:
        """Let the acting host die for good, and its lease run out."""
        with self.acting.sessions.write() as session:
            session.execute(text("UPDATE lease SET expires_at = '1970-01-01 00:00:00'"))
        self.acting = self.other


class Held:
    """A kernel lock that another has: only the lease says who acts."""

    def take(self) -> bool:
        return False

    def release(self) -> None:
        pass


@pytest.fixture(params=SKEWS, ids=lambda skew: f"{skew.total_seconds():+g} s")
def hosts(sessions: Sessions, request: pytest.FixtureRequest) -> Hosts:
    """Give two hosts with a full pool, of which the second has the other clock."""
    acting = Controller(sessions, fleet=a_fleet(target=TARGET), lock=Held())
    acting.vast.stock(an_offer() for _ in range(20))
    other_clock = FakeClock()
    other_clock.now = acting.clock.now + request.param
    other = Controller(sessions, clock=other_clock, fleet=acting.fleet, lock=Held())
    other.vast = acting.vast
    other.restart()
    acting.filled()
    other.clock.advance(5)
    return Hosts(acting, other)


def test_a_drop_heard_under_another_clock_is_carried_out_at_the_next_tick(hosts: Hosts) -> None:
    dropped = hosts.acting.rows(State.VERIFIED)[0]
    hosts.other.drop(dropped)
    now = hosts.acting.clock.now
    with hosts.acting.sessions.read() as session:
        assert instances.anything_due(session, now - OVERLAP, now)
    hosts.acting.step()
    assert hosts.acting.vast.named("destroy") == [dropped.contract_id]


def test_a_worker_heard_under_another_clock_is_kept(hosts: Hosts) -> None:
    hosts.acting.vast.lose(hosts.acting.rows(State.VERIFIED)[0].contract_id or 0)
    while not hosts.acting.rows(State.CREATED):
        hosts.pass_time(STEP)
    hosts.other.verify_all()
    boxes = set(hosts.acting.vast.boxes)
    hosts.pass_time(300)
    assert len(hosts.acting.rows(State.VERIFIED)) == TARGET
    assert set(hosts.acting.vast.boxes) == boxes


def test_a_successor_under_another_clock_keeps_the_pool(hosts: Hosts) -> None:
    boxes = set(hosts.acting.vast.boxes)
    hosts.take_over()
    hosts.pass_time(300)
    assert set(hosts.acting.vast.boxes) == boxes
    assert len(hosts.acting.rows()) == TARGET


def test_a_create_under_way_is_not_given_up_early_under_another_clock(hosts: Hosts) -> None:
    """The grace counts from when the successor found the create unanswered, by its own clock."""
    first = hosts.acting
    first.drop(first.rows(State.VERIFIED)[0])
    first.vast.boundary = lambda name: _die(name)
    with pytest.raises(Died):
        first.run(120, every=STEP)
    first.vast.boundary = lambda name: None
    (sent,) = first.rows(State.REQUESTED)
    hosts.take_over()
    hosts.pass_time(first.fleet.create_grace.total_seconds() - 20)
    assert hosts.acting.row(sent.id).state is State.REQUESTED
    hosts.pass_time(60)
    assert hosts.acting.story(sent.id)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
    assert sent.sends == 1


@pytest.mark.parametrize("ahead", [10, 50], ids=lambda secs: f"{secs} s")
def test_two_web_sides_whose_clocks_are_seconds_apart_hear_without_a_gap(
    sessions: Sessions, ahead: int
) -> None:
    for turn in range(20):
        now = NOW + timedelta(seconds=8 * turn)
        with sessions.write() as session:
            pool.note_hearing(session, now + timedelta(seconds=ahead) if turn % 2 else now)
    with sessions.read() as session:
        assert pool.hearing_since(pool.read(session), now) == NOW


@pytest.mark.parametrize("skew", SKEWS, ids=str)
def test_web_sides_whose_clocks_are_minutes_apart_hear_without_a_gap(
    postgres_sessions: Sessions, skew: timedelta
) -> None:
    """Both sign by the clock of the database, and each host tells the signs by its own."""
    seen = []
    for clock in (lambda: NOW, lambda: NOW + skew) * 3:
        liveness.sign(postgres_sessions, clock)
        with postgres_sessions.read() as session:
            state = pool.read(session)
            ahead = LeaseHolder.time(session, NOW) - NOW
        seen.append(state.hearing_since)
    assert seen == [seen[0]] * 6
    for now in (NOW, NOW + skew):
        told = pool.hearing_since(pool.told_by(state, ahead=ahead - (now - NOW)), now)
        assert told is not None
        assert timedelta() <= now - told < timedelta(minutes=1)


@pytest.mark.parametrize("skew", SKEWS, ids=str)
def test_a_loop_whose_clock_is_not_that_of_the_database_notices_silence(
    sqlite_sessions: Sessions, skew: timedelta
) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=TARGET), steady=True)
    controller.clock_of_worker = replace(
        controller.clock_of_worker, shared=lambda session, now: controller.clock.now + skew
    )
    controller.restart()
    controller.vast.stock(an_offer() for _ in range(20))
    controller.filled()
    silent, lively = controller.rows(State.VERIFIED)
    for turn in range(45):
        now = controller.clock.now
        with sqlite_sessions.write() as session:
            pool.note_hearing(session, now + skew)
            for row in (silent, lively) if turn == 0 else (lively,):
                transitions.learn(session, row, beaten_at=now, beat_secs=60)
        controller.step(15)
    assert controller.story(silent.id)[3] == (State.DROPPING, Reason.SILENT)
    assert controller.row(lively.id).state is State.VERIFIED


class Died(BaseException):
    """The host died here."""


def _die(name: str) -> None:
    if name == "create":
        raise Died
