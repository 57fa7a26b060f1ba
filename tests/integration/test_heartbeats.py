"""What an instance says of itself, against what Vast says of it."""

import pytest

from magister.domain.risk.quarantine import Quarantines
from magister.planner.conditions import Condition
from magister.reports.warnings import doubts
from magister.states import Reason, State
from magister.store import pool, requests, transitions
from magister.store.db.engine import Sessions
from magister.vast import values
from tests.beating import TARGET, Beating
from tests.builders import ADDRESS, NOW, a_fleet, an_offer
from tests.controller import Controller

ODD = ["active", "offline", "unknown", "exited", "stopped", None]
"""Statuses with which instances were given up although their heartbeats arrived."""


def call_all(controller: Controller, status: object) -> None:
    """Let Vast give this status for each instance, as it is read from the wire."""
    for contract in controller.vast.boxes:
        controller.vast.change(contract, actual_status=values.status(status))


def conditions(controller: Controller) -> list[Condition]:
    with controller.sessions.read() as session:
        return list(pool.read(session).conditions)


@pytest.mark.parametrize("status", ["Running", "running ", " RUNNING\n"])
def test_an_odd_spelling_of_a_status_is_that_status(sqlite_sessions: Sessions, status: str) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=2))
    controller.vast.stock(an_offer() for _ in range(9))
    controller.filled()
    call_all(controller, status)
    controller.run(1800, every=30)
    assert len(controller.vast.created) == 2
    assert conditions(controller) == []


@pytest.mark.parametrize("status", ODD)
def test_no_status_costs_an_instance_whose_heartbeat_arrives(sessions: Sessions, status: str | None) -> None:
    beating = Beating(sessions, every=30)
    call_all(beating.pool, status)
    beating.run(1800)
    assert beating.given_up() == {}
    assert len(beating.pool.vast.created) == TARGET


def test_an_instance_that_vast_calls_stopped_goes_three_intervals_after_its_last_heartbeat(
    sessions: Sessions,
) -> None:
    beating = Beating(sessions, every=30)
    ended = min(beating.alive)
    beating.alive.remove(ended)
    beating.pool.vast.change(beating.pool.row(ended).contract_id or 0, actual_status="exited")
    beating.run(30)
    assert beating.given_up() == {}
    beating.run(90)
    assert beating.given_up() == {ended: Reason.EXITED}


def test_the_grace_of_an_instance_out_of_reach_begins_with_its_last_heartbeat(sessions: Sessions) -> None:
    beating = Beating(sessions, every=300)
    ended = min(beating.alive)
    beating.pool.vast.change(beating.pool.row(ended).contract_id or 0, actual_status="offline")
    beating.run(1200)
    beating.alive.remove(ended)
    beating.run(570)
    assert beating.given_up() == {}


def test_a_status_says_nothing_while_no_heartbeat_could_be_heard(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions, every=30)
    call_all(beating.pool, "offline")
    beating.run(1800, listening=False)
    assert beating.given_up() == {}


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ("active", f"Vast says 'active' of {TARGET} instances, a status that Magister does not know"),
        (7, f"Vast gives no status for any of {TARGET} instances"),
    ],
)
def test_a_word_that_nobody_knows_on_many_instances_is_one_condition_and_no_failure(
    sqlite_sessions: Sessions, status: object, what: str
) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=TARGET))
    controller.vast.stock(an_offer() for _ in range(60))
    controller.filled()
    call_all(controller, status)
    controller.run(3600, every=30)
    assert len(controller.vast.created) == TARGET, "no instance here has a heartbeat"
    (found,) = conditions(controller)
    assert (found.kind, found.what) == ("unknown_status", what)


def test_a_word_that_nobody_knows_does_not_spend_the_patience_with_real_losses(
    sqlite_sessions: Sessions,
) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=TARGET))
    controller.vast.stock(an_offer() for _ in range(60))
    controller.filled()
    for contract in sorted(controller.vast.boxes)[:4]:
        controller.vast.change(contract, actual_status="active")
    last = max(controller.vast.boxes)
    controller.vast.change(last, actual_status="offline")
    controller.run(700, every=30)
    gone = [row.contract_id for row in controller.rows(State.DESTROYED, State.DROPPING)]
    assert gone == [last]


class Silent:
    """A pool that beats, and one instance more whose worker verified and ended before its first heartbeat."""

    def __init__(self, sessions: Sessions, *, announced: bool) -> None:
        self.beating = Beating(sessions, target=3, every=30)
        controller = self.beating.pool
        controller.drop(controller.rows(State.VERIFIED)[0])
        controller.run(60)
        (self.row,) = controller.rows(State.CREATED)
        if announced:
            with sessions.write() as session:
                requests.announce(
                    session, self.row.offer_id, key=self.row.callback_key, now=controller.clock.now
                )
        assert controller.row(self.row.id).state is State.CREATED, "an announcement verifies nothing"
        controller.verify(self.row)

    def reason(self) -> Reason | None:
        return self.beating.given_up().get(self.row.id)


def test_a_worker_that_ends_before_its_first_heartbeat_is_missed(sessions: Sessions) -> None:
    silent = Silent(sessions, announced=True)
    silent.beating.run(270)
    assert silent.reason() is None
    silent.beating.run(90)
    assert silent.reason() is Reason.SILENT


def test_an_instance_that_never_announced_itself_is_not_judged_by_its_silence(sessions: Sessions) -> None:
    silent = Silent(sessions, announced=False)
    silent.beating.run(1800)
    assert silent.reason() is None
    controller = silent.beating.pool
    now, row = controller.clock.now, controller.row(silent.row.id)
    (said,) = doubts(row, controller.fleet, Quarantines(), now, heard_from=row.verified_at)
    assert said.startswith("it cannot send heartbeats")


def test_how_often_an_instance_beats_is_written_when_it_is_rented(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = transitions.open_row(session, an_offer(), callback_key=None, actor="test", why="a test", at=NOW)
        assert row.beat_secs is None
        assert transitions.claim_send(session, row, fence=1, at=NOW, beat_secs=45).beat_secs == 45


def test_how_often_an_instance_of_the_version_before_beats_is_read_from_its_start_text(
    sessions: Sessions,
) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock([an_offer()])
    controller.filled()
    (row,) = controller.rows()
    controller.vast.change(row.contract_id or 0, onstart=f"url={ADDRESS}/verify/{row.offer_id}?beat=200")
    controller.step(30)
    found = controller.row(row.id)
    assert (found.beat_secs, found.silent_since) == (200, None)
