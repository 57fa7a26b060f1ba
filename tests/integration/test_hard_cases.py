"""Hard cases: errors in the wrong place, calls that hang, clocks that lie, two hosts, and Vast gone mad."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from magister.control.lanes import ThreadLanes
from magister.domain.actions import Adopt, List, Move, Send
from magister.domain.instance import Held
from magister.domain.observed import Listing, Offer, Route, Sighting
from magister.errors import Ambiguous, LeaseLost, NotSent, RateLimited, StartedStopped, Transient
from magister.states import Reason, State
from magister.store import instances, observations, transitions
from magister.store import pool as pool_row
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import LeaseHolder, NoLock, kernel_lock
from magister.store.db.models import Lease
from magister.vast import offers
from tests.builders import ADDRESS, a_fleet, a_sighting, an_offer
from tests.controller import Controller
from tests.fakes import FakeVast, a_page
from tests.integration.test_web_trouble import failing
from tests.waiting import PATIENCE, until


@dataclass
class PacedVast(FakeVast):
    """A Vast whose routes open again only some seconds after a call, as the pacer has it."""

    interval: dict[Route, float] = field(default_factory=dict)
    called: dict[str, float] = field(default_factory=dict)
    unshowable: set[int] = field(default_factory=set)
    hanging: set[int] = field(default_factory=set)

    def show(self, contract_id: int) -> Sighting | None:
        if contract_id in self.unshowable:
            self._note("show", contract_id)
            raise Transient("500 for this one")
        return super().show(contract_id)

    def destroy(self, contract_id: int) -> None:
        if contract_id not in self.hanging:
            super().destroy(contract_id)
            return
        self.clock.advance(95)  # three attempts of 30 seconds, and the naps between them
        self._note("destroy", contract_id)
        raise Transient("Vast did not answer")

    def wait_secs(self, route: Route) -> float:
        last = self.called.get(str(route))
        return 0.0 if last is None else max(last + self.interval.get(route, 0.0) - self.clock.mono, 0.0)

    def _note(self, call: str, argument: object) -> None:
        super()._note(call, argument)
        self.called[call] = self.clock.mono


def paced(sessions: Sessions, target: int) -> tuple[Controller, PacedVast]:
    pool = Controller(sessions, fleet=a_fleet(target=target))
    vast = PacedVast(clock=pool.clock, interval={Route.SHOW: 2.0})
    pool.vast = vast
    pool.restart()
    vast.stock(an_offer() for _ in range(10))
    return pool, vast


def ours(contract: int, label: str, offer_id: int, **facts: object) -> Sighting:
    onstart = f"export MAGISTER_DROP_ENDPOINT={ADDRESS}/drop/{offer_id}"
    return a_sighting(contract, label=label, onstart=onstart, **facts)


def test_two_unknown_boxes_under_one_key_do_not_stop_the_loop(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=2))
    pool.vast.stock(an_offer() for _ in range(5))
    old = pool.clock.now - timedelta(hours=1)
    label = "magister:" + "a" * 32
    pool.vast.boxes[1] = ours(1, label, 77, start_date=old)
    pool.vast.boxes[2] = ours(2, label, 77, start_date=old)
    pool.run(120)
    assert {row.contract_id for row in pool.rows()} >= {1, 2}
    assert len(pool.vast.boxes) == 2, "one twin goes and one rental comes"


def test_a_box_with_an_impossible_offer_id_does_not_stop_the_loop(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.boxes[1] = ours(1, "magister", 9_999_999_999_999_999_999)
    pool.run(60)
    assert len(pool.rows(State.CREATED)) == 1


def test_one_contract_that_cannot_be_looked_at_holds_up_no_other_proof(sessions: Sessions) -> None:
    pool, vast = paced(sessions, 2)
    pool.filled()
    first, second = pool.rows(State.VERIFIED)
    assert first.contract_id and second.contract_id
    vast.unshowable = {first.contract_id}
    vast.hidden = {first.contract_id}
    vast.lose(second.contract_id)
    pool.run(300)
    assert pool.story(second.id)[-1] == (State.DESTROYED, Reason.VANISHED)


def test_a_look_that_fails_is_pushed_back(sessions: Sessions) -> None:
    pool, vast = paced(sessions, 1)
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    vast.unshowable = vast.hidden = {row.contract_id}
    pool.run(600)
    assert len(vast.named("show")) < 60


def test_a_key_is_recognised_under_the_label_it_was_rented_with(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.after("create", Ambiguous("reset"))
    pool.step()
    pool.restart(label_tag="prod")
    pool.step(5)
    pool.verify_all()
    pool.run(600)
    assert len(pool.vast.boxes) == len(pool.vast.created) == 1
    assert pool.story(1)[1] == (State.CREATED, Reason.FOUND)


def test_an_unsent_row_is_not_sent_to_a_machine_that_was_banned_meanwhile(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    banned, other = an_offer(price=100_000), an_offer()
    pool.vast.stock([banned, other])
    pool.vast.before("create", NotSent())
    pool.step()
    pool.restart(bad_machines=frozenset({banned.machine_id}))
    pool.run(600)
    first, *later = pool.vast.named("create")
    assert (first, set(later)) == (banned.id, {other.id})


def test_an_unsent_row_is_not_sent_days_later_at_whatever_its_offer_costs_by_then(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1, max_price=600_000))
    offer, other = an_offer(price=100_000), an_offer()
    pool.vast.stock([offer, other])
    pool.vast.before("create", NotSent())
    pool.step()
    pool.clock.advance(3 * 86_400)
    pool.restart()
    assert pool.vast.named("create") == [offer.id]
    pool.run(600)
    assert pool.row(1).sends == 1
    assert pool.story(1)[1][1] is Reason.STALE_OFFER


def test_a_clock_set_back_does_not_delay_a_destroy(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    pool.vast.before("destroy", Transient("503"))
    pool.drop(row)
    pool.step(1)
    pool.clock.now -= timedelta(hours=2)
    pool.run(600)
    assert row.contract_id not in pool.vast.boxes


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=1)])
def test_a_clock_set_forward_does_not_end_the_grace_of_a_create(sessions: Sessions, ahead: timedelta) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.lag = 120
    pool.vast.after("create", Ambiguous("reset"))
    pool.run(30)
    pool.clock.now += ahead
    pool.vast.lag += ahead.total_seconds()  # Vast's clock was not set
    pool.run(60)
    (row,) = pool.rows(State.REQUESTED)
    assert len(pool.vast.boxes) == 1
    pool.vast.lag = 0
    pool.run(10)
    assert (State.CREATED, Reason.FOUND) in pool.story(row.id)


def test_a_clock_set_forward_does_not_make_a_worker_late(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.run(30)
    pool.clock.now += timedelta(hours=1)
    pool.run(120)
    (row,) = pool.rows(State.CREATED)
    pool.run(60)
    assert (State.DROPPING, Reason.UNVERIFIED) in pool.story(row.id)


def test_a_clock_set_forward_does_not_make_an_outage_of_a_host_long(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    pool.vast.change(row.contract_id, actual_status="offline")
    pool.run(60)
    pool.clock.now += timedelta(hours=1)
    pool.run(300)
    assert pool.row(row.id).state is State.VERIFIED
    pool.run(300)
    assert (State.DROPPING, Reason.OFFLINE) in pool.story(row.id)


def test_a_clock_set_back_does_not_hide_a_death(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    pool.step(30)
    pool.vast.lose(row.contract_id)
    pool.step(30)
    pool.clock.now -= timedelta(hours=2)
    pool.run(600)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.VANISHED)


@dataclass
class LateLanes:
    """Hold every answer back until the test lets it in, as a slow network does."""

    late: bool = False
    held: list[tuple[Route, Callable[[], None]]] = field(default_factory=list)

    def busy(self, route: Route) -> bool:
        return any(route is held for held, _ in self.held)

    def start(self, route: Route, effect: Callable[[], None]) -> None:
        effect() if not self.late else self.held.append((route, effect))

    def close(self, timeout: float) -> bool:
        return True


@pytest.mark.parametrize("what", ["death", "outage"])
def test_an_answer_from_before_the_clock_was_set_back_writes_nothing_into_the_future(
    sessions: Sessions, what: str
) -> None:
    pool, lanes = Controller(sessions, fleet=a_fleet(target=1)), LateLanes()
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    pool.worker._dispatcher._lanes = lanes
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    if what == "death":
        pool.vast.lose(row.contract_id)
    else:
        before = pool.clock.now - timedelta(days=1)  # Vast's own clock was never ahead
        pool.vast.change(row.contract_id, actual_status="offline", start_date=before)

    def set_back(name: str) -> None:
        pool.vast.boundary = lambda name: None
        pool.clock.now -= timedelta(hours=2)
        lanes.late = True
        pool.step()
        lanes.late, lanes.held = False, []

    pool.vast.boundary = lambda name: set_back(name) if name == "listing" else None
    pool.step(31)
    pool.run(720, every=10)
    reason = Reason.VANISHED if what == "death" else Reason.OFFLINE
    assert reason in [told for _, told in pool.story(row.id)]


def test_a_clock_set_back_does_not_keep_the_pool_from_renting(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    with sessions.write() as session:
        pool_row.hold_renting(session, until=pool.clock.now + timedelta(seconds=300), refusals=9)
    pool.step()
    pool.clock.now -= timedelta(hours=2)
    pool.run(900)
    assert len(pool.vast.boxes) == 1


def test_a_wish_for_a_listing_from_a_clock_ahead_is_granted_once(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=0))
    pool.step()
    before = len(pool.vast.named("listing"))
    with sessions.write() as session:
        pool_row.ask_for_listing(session, pool.clock.now + timedelta(seconds=60))
    pool.run(25, every=1)
    assert len(pool.vast.named("listing")) - before <= 2


def test_a_wish_for_a_listing_from_a_clock_behind_is_granted(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=0))
    pool.step()
    before = len(pool.vast.named("listing"))
    with sessions.write() as session:
        pool_row.ask_for_listing(session, pool.clock.advance(3) - timedelta(seconds=10))
    pool.run(5, every=1)
    assert len(pool.vast.named("listing")) > before


def test_an_error_amid_trouble_with_the_database_does_not_close_a_lane_for_good(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    over, trouble = threading.Event(), ExitStack()

    def break_off() -> BaseException:
        trouble.enter_context(failing(sessions, times=1_000_000))
        return ValueError("an answer nobody thought of")

    pool.worker._dispatcher._lanes = ThreadLanes(done=over.set)
    pool.vast.before("destroy", break_off)
    pool.drop(row)
    with suppress(DBAPIError):  # the step itself may not be through when it begins
        pool.step(1)
    assert over.wait(PATIENCE)
    trouble.close()

    def destroyed() -> bool:
        pool.step(5)
        return row.contract_id not in pool.vast.boxes

    until(destroyed, "the end of the box")


def test_a_surplus_row_that_was_sent_meanwhile_is_not_called_destroyed(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.before("create", NotSent())
    pool.step()
    with sessions.write() as session:
        transitions.learn(session, pool.row(1), unanswered=0)
        unsent = transitions.open_row(
            session, an_offer(), callback_key=None, actor="test", why="a test", at=pool.clock.now
        )
    executor = pool.worker._executor
    settle = executor.settle
    claimed: list[Held] = []

    def late(action: Move | Adopt, now: datetime) -> None:
        if not claimed:  # the lane comes between the plan and the move
            claimed.append(unsent)
            with sessions.write() as session:
                transitions.claim_send(session, unsent, fence=1, at=now)
        settle(action, now)

    executor.settle = late  # type: ignore[method-assign] # the race, made certain
    pool.step(1)
    assert claimed
    assert (State.DESTROYED, Reason.SURPLUS) not in pool.story(unsent.id)


def test_a_refused_destroy_does_not_bring_back_what_was_proved_gone(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    pool.drop(row)

    def proved() -> BaseException:
        pool.vast.boxes.clear()
        with sessions.write() as session:
            now, dropping = pool.clock.now, pool.row(row.id)
            transitions.move(
                session, dropping, State.DESTROYED, Reason.PROVED_GONE, actor="test", why="a test", at=now
            )
        return RateLimited()

    pool.vast.before("destroy", proved)
    pool.step(1)
    pool.run(30)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.PROVED_GONE)
    assert (State.DROPPING, Reason.REAPPEARED) not in pool.story(row.id)


def test_a_look_that_was_overtaken_by_a_sighting_proves_nothing(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    begun_at = pool.clock.now
    pool.clock.advance(3)
    pool.step(30)
    with sessions.write() as session:
        observations.note_look(session, pool.row(row.id), None, begun_at, fleet=pool.fleet)
    pool.vast.hidden = {row.contract_id}
    pool.run(60)
    assert pool.row(row.id).state is State.VERIFIED, "a look would still have found it"


def test_a_box_seen_while_its_destroy_was_asked_for_is_proved_gone_at_once(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.lag = 1
    pool.step()
    pool.verify_all()
    (row,) = pool.rows(State.VERIFIED)
    assert row.first_seen_at is None
    pool.drop(row)
    executor = pool.worker._executor

    def listed(name: str) -> None:
        if name == "destroy":
            pool.clock.advance(2)
            executor.call(List("the poll, in its own lane"))

    pool.vast.boundary = listed
    pool.step(0.5)
    pool.vast.boundary = lambda name: None
    pool.run(60)
    assert pool.row(row.id).state is State.DESTROYED


def test_a_stopped_box_is_dropped_even_if_a_listing_named_it_first(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))

    def found() -> BaseException:
        (box,) = pool.vast.boxes.values()
        with sessions.write() as session:  # what another host's loop does while this one is frozen
            observations.note_listing(session, Listing(pool.clock.now, (box,)), fleet=pool.fleet)
            row = instances.one(session, 1)
            assert row is not None
            transitions.move(
                session, row, State.CREATED, Reason.FOUND, actor="test", why="a test", at=pool.clock.now
            )
        return StartedStopped(box.contract_id)

    pool.vast.status = None
    pool.vast.after("create", found)
    pool.step()
    pool.step(1)
    assert (State.DROPPING, Reason.STARTED_STOPPED) in pool.story(1)


def test_a_listing_and_the_answer_to_a_create_do_not_lock_each_other_out(postgres_sessions: Sessions) -> None:
    pool = Controller(postgres_sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.step()
    with postgres_sessions.write() as session:
        unsent = transitions.open_row(
            session, an_offer(), callback_key=None, actor="test", why="a test", at=pool.clock.now
        )
    listed, asked, pool_held, rows_held = (threading.Event() for _ in range(4))
    note_listing, hold_renting = observations.note_listing, pool_row.hold_renting

    def note_slowly(*args: Any, **facts: Any) -> Any:
        listed.set()
        asked.wait(2)
        found = note_listing(*args, **facts)
        rows_held.set()
        pool_held.wait(2)
        return found

    def hold_slowly(*args: Any, **facts: Any) -> None:
        hold_renting(*args, **facts)
        pool_held.set()

    def answer_late(name: str) -> None:
        if name == "create":
            asked.set()
            rows_held.wait(2)

    trouble: list[BaseException] = []

    def call(action: Send | List) -> None:
        try:
            pool.worker._executor.call(action)
        except DBAPIError as error:
            trouble.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observations, "note_listing", note_slowly)
        patch.setattr(pool_row, "hold_renting", hold_slowly)
        pool.vast.boundary = answer_late
        listing = threading.Thread(target=call, args=(List("the poll"),))
        create = threading.Thread(target=call, args=(Send(unsent, "a test"),))
        listing.start()
        assert listed.wait(PATIENCE)
        create.start()
        listing.join(PATIENCE)
        create.join(PATIENCE)
    assert not listing.is_alive()
    assert not create.is_alive()
    assert trouble == []


class Market(FakeVast):
    """A Vast that gives the cheapest offers first, 64 to a page, as the real client reads them."""

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        cheapest = sorted(super().search(machines, fit), key=lambda offer: offer.price)

        return offers.offers(lambda start: a_page(cheapest, start), machines, fit)


def test_a_banned_host_with_the_64_cheapest_machines_does_not_hide_the_rest(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1, bad_hosts=frozenset({7})))
    pool.vast = Market(clock=pool.clock)
    pool.restart()
    pool.vast.stock(an_offer(host_id=7, price=100_000 + n) for n in range(70))
    pool.vast.stock(an_offer(price=200_000) for _ in range(3))
    pool.run(600, every=10)
    assert len(pool.vast.boxes) == 1


def test_a_pool_that_vanishes_at_once_is_replaced_by_one_canary_only(sessions: Sessions) -> None:
    """Vast forgets all for half a minute, as its listings have been seen to."""
    pool = Controller(sessions, fleet=a_fleet(target=8))
    pool.vast.stock(an_offer() for _ in range(50))
    pool.filled()
    pool.step(30)
    kept = dict(pool.vast.boxes)
    pool.vast.boxes.clear()
    pool.run(60)
    rented = len(pool.vast.created) - 8
    pool.vast.boxes.update(kept)
    pool.run(60)
    assert rented <= 1
    assert set(kept) <= set(pool.vast.boxes)


def test_a_destroy_that_hangs_holds_up_no_other_for_minutes(sessions: Sessions) -> None:
    pool, vast = paced(sessions, 2)
    vast.interval[Route.DESTROY] = 3.0
    pool.filled()
    first, second = pool.rows(State.VERIFIED)
    assert first.contract_id
    vast.hanging = {first.contract_id}
    for row in (first, second):
        pool.drop(row)
    began = pool.clock.mono
    while vast.named("destroy").count(second.contract_id) == 0:
        pool.step(3)
    assert pool.clock.mono - began < 110


def test_trouble_at_the_takeover_does_not_keep_an_old_listing_believed(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    pool.step(30)
    listed = len(pool.vast.named("listing"))
    with sessions.write() as session:  # another host took over and died
        session.execute(update(Lease).values(fence=Lease.fence + 1))

    real, broken = transitions.turn_back, [True]

    def fail(*args: Any, **facts: Any) -> Any:
        if broken and broken.pop():
            raise OperationalError("UPDATE", {}, Exception("the connection broke"))
        return real(*args, **facts)

    monkeypatch.setattr(transitions, "turn_back", fail)
    with pytest.raises(OperationalError):
        pool.step(11)
    pool.step(1)
    assert len(pool.vast.named("listing")) > listed


def test_a_cut_lock_connection_leaves_one_holder(postgres_sessions: Sessions) -> None:
    now = datetime.now(UTC)
    lasts, renew = timedelta(hours=1), timedelta(seconds=10)
    first, second = (
        LeaseHolder(postgres_sessions, kernel_lock(postgres_sessions), holder=name, lasts=lasts, renew=renew)
        for name in ("first", "second")
    )
    assert first.hold(now)
    assert not second.hold(now)
    with postgres_sessions.engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        )
    until(lambda: second.hold(now), "a successor: the server ends a connection in its own time")
    with postgres_sessions.write() as session, pytest.raises(LeaseLost):
        first.require(session, now)
    later = now + renew
    with suppress(DBAPIError):
        first.hold(later)
    assert not first.hold(later)
    assert second.hold(later)
    first.release(later)
    second.release(later)


def test_a_holder_frozen_within_a_transaction_is_succeeded(postgres_sessions: Sessions) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    url = postgres_sessions.engine.url.render_as_string(hide_password=False)
    standing_still = open_database(url, busy_timeout=4)
    first, second = (
        LeaseHolder(opened, NoLock(), holder=name, lasts=hour, renew=timedelta())
        for name, opened in (("first", standing_still), ("second", postgres_sessions))
    )
    assert first.hold(now)
    with suppress(DBAPIError), standing_still.write() as frozen:
        first.require(frozen, now)  # here it is stopped, with the row of the lease locked
        with postgres_sessions.write() as session:
            session.execute(update(Lease).values(expires_at=now - hour))
        assert second.hold(now)
    assert second.fence == 2
    standing_still.engine.dispose()


def test_a_move_that_fails_is_pushed_back(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.step()
    real, tries = transitions.move, []

    def move(session: Any, row: Any, to: State, *rest: Any, **facts: Any) -> None:
        if to is State.DROPPING:
            tries.append(pool.clock.now)
            raise ValueError("a bad row")
        real(session, row, to, *rest, **facts)

    monkeypatch.setattr(transitions, "move", move)
    pool.run(180)
    tries.clear()
    pool.run(60)
    assert len(tries) <= 2
