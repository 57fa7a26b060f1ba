"""What a review found: each test fails until its finding is mended."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from magister import ledger
from magister import pool as pool_row
from magister.database import Sessions
from magister.errors import Ambiguous, NotSent, Transient
from magister.facts import Route, Sighting
from magister.lanes import ThreadLanes
from magister.states import Reason, State
from tests.builders import ADDRESS, a_fleet, a_sighting, an_offer
from tests.controller import Controller
from tests.fakes import FakeVast


@dataclass
class PacedVast(FakeVast):
    """A Vast whose routes open again only some seconds after a call, as the pacer has it."""

    interval: dict[Route, float] = field(default_factory=dict)
    called: dict[str, float] = field(default_factory=dict)
    unshowable: set[int] = field(default_factory=set)

    def show(self, contract_id: int) -> Sighting | None:
        if contract_id in self.unshowable:
            self._note("show", contract_id)
            raise Transient("500 for this one")
        return super().show(contract_id)

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
    pool.run(300, every=1)
    assert pool.story(second.id)[-1] == (State.DESTROYED, Reason.VANISHED)


def test_a_look_that_fails_is_pushed_back(sessions: Sessions) -> None:
    pool, vast = paced(sessions, 1)
    pool.filled()
    (row,) = pool.rows(State.VERIFIED)
    assert row.contract_id
    vast.unshowable = vast.hidden = {row.contract_id}
    pool.run(600, every=1)
    assert len(vast.named("show")) < 60


def test_a_key_is_recognised_under_the_label_it_was_rented_with(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.vast.after("create", Ambiguous("reset"))
    pool.step()
    pool.restart(label_tag="prod")
    pool.run(600)
    assert len(pool.vast.boxes) == 1
    assert pool.story(1)[1] == (State.CREATED, Reason.FOUND)


def test_an_unsent_row_is_not_sent_to_a_machine_that_was_banned_meanwhile(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    banned, other = an_offer(price=100_000), an_offer()
    pool.vast.stock([banned, other])
    pool.vast.before("create", NotSent())
    pool.step()
    pool.restart(bad_machines=frozenset({banned.machine_id}))
    pool.run(120)
    assert [box.machine_id for box in pool.vast.boxes.values()] == [other.machine_id]


def test_an_unsent_row_is_not_sent_days_later_at_whatever_its_offer_costs_by_then(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1, max_price=600_000))
    offer, other = an_offer(price=100_000), an_offer()
    pool.vast.stock([offer, other])
    pool.vast.before("create", NotSent())
    pool.step()
    pool.clock.advance(3 * 86_400)
    pool.restart()
    assert pool.vast.named("create") == [offer.id]
    pool.run(60)
    assert pool.vast.named("create") == [offer.id, other.id]


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
    gone = threading.Event()
    lock = ExitStack()

    def seize() -> BaseException:
        session = lock.enter_context(sessions.write())
        ledger.learn(session, row, trouble="a long write of somebody's")
        return ValueError("an answer nobody thought of")

    pool.worker._lanes = ThreadLanes(done=gone.set)
    pool.vast.before("destroy", seize)
    pool.drop(row)
    pool.step(1)
    assert gone.wait(30)
    lock.close()
    for _ in range(30):
        pool.step(5)
        time.sleep(0.02)
    assert row.contract_id not in pool.vast.boxes
