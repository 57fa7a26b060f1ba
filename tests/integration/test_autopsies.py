"""Boxes that failed are asked for their logs, and what a template does wrong is held against it alone."""

import pytest

from magister.domain.actions import Autopsy, Destroy
from magister.domain.observed import Route
from magister.domain.risk.quarantine import quarantines
from magister.domain.risk.suspicion import without
from magister.errors import RateLimited, Refused, Transient
from magister.states import Failure, Reason, State
from magister.store import pool as pool_row
from magister.store import rental_history
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from tests.builders import a_fleet, an_offer
from tests.controller import Controller


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for three instances of a known template on a market of ten machines of ten hosts."""
    controller = Controller(sessions, fleet=a_fleet(template_hash="broken"))
    controller.vast.stock(an_offer() for _ in range(10))
    return controller


def stored(pool: Controller, instance_id: int) -> Instance:
    with pool.sessions.read() as session:
        found = session.get(Instance, instance_id)
        assert found is not None
        session.expunge(found)
        return found


def calls(pool: Controller) -> list[str]:
    return [name for name, _ in pool.vast.calls if name in {"logs", "destroy"}]


def exited(pool: Controller) -> int:
    """Fill the pool and let the first box exit; return its row."""
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.logged[row.contract_id] = "starting\npanicked at the end\n"
    pool.vast.change(row.contract_id, actual_status="exited")
    pool.run(35)
    return row.id


def test_the_last_lines_of_a_box_that_failed_are_kept_before_it_is_destroyed(pool: Controller) -> None:
    number = exited(pool)
    assert calls(pool)[:2] == ["logs", "destroy"]
    found = stored(pool, number)
    assert (found.autopsy, found.failure) == ("starting\npanicked at the end", "died")
    assert found.autopsy_at is not None
    assert pool.vast.named("logs") == [found.contract_id], "logs are asked for once"


def test_what_a_person_or_the_coordinator_asked_waits_for_no_logs(pool: Controller) -> None:
    pool.filled()
    pool.drop(pool.rows()[0])
    pool.run(20)
    assert calls(pool) == ["destroy"]


def test_an_operator_may_do_without(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(autopsy=False))
    pool.vast.stock(an_offer() for _ in range(10))
    exited(pool)
    assert calls(pool) == ["destroy"]


@pytest.mark.parametrize("error", [Refused("no"), Transient("503"), RateLimited("429", retry_after=300)])
def test_logs_that_are_refused_hold_nothing_up(pool: Controller, error: Exception) -> None:
    pool.vast.before("logs", error)
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status="exited")
    pool.run(35)
    assert calls(pool) == ["logs", "destroy"]
    assert stored(pool, row.id).autopsy is None


def test_a_destroy_waits_twenty_seconds_at_most_for_a_route_that_is_closed(pool: Controller) -> None:
    pool.vast.closed[Route.LOGS] = 3600.0
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status="exited")
    while pool.row(row.id).state is State.VERIFIED:
        pool.step(1)
    began = pool.row(row.id).moved_at
    report = pool.step(1)
    assert any(isinstance(action, Autopsy) for action in report.deferred)
    while not pool.row(row.id).destroys:
        assert not any(isinstance(action, Destroy) for action in report.begun)
        report = pool.step(1)
    assert (pool.clock.now - began).total_seconds() == 20
    assert calls(pool) == ["destroy"]


def test_the_loop_wakes_when_the_logs_have_been_waited_for(pool: Controller) -> None:
    pool.vast.closed[Route.LOGS] = 3600.0
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status="exited")
    while pool.row(row.id).state is State.VERIFIED:
        pool.step(1)
    report = pool.step(1)
    assert report.next_at is not None
    assert (report.next_at - pool.row(row.id).moved_at).total_seconds() <= 20


def broken(pool: Controller, words: str, *, boxes: int = 3) -> None:
    """Let no worker ever call, and every log say the same."""
    pool.vast.logged = {70_000 + n: words for n in range(1, 60)}
    pool.run(260, every=10)
    assert len([row for row in pool.rows() if row.reason is Reason.PROVED_GONE]) >= boxes


def test_a_template_that_fails_alike_on_three_hosts_is_blamed_with_the_words_of_the_logs(
    pool: Controller,
) -> None:
    broken(pool, "boot\nmanifest for a/worker:9 not found: manifest unknown\n")
    with pool.sessions.read() as session:
        shown = [one.what for one in pool_row.read(session).conditions if one.kind == "rentals_fail"]
    assert len(shown) == 1
    assert shown[0].startswith(
        "the template looks broken: it never worked, and boxes on 3 hosts failed alike (image pull: manifest "
        "for a/worker:9 not found: manifest unknown); one instance at a time is tried"
    )


def test_machines_stay_in_doubt_until_the_template_that_failed_on_them_is_changed(pool: Controller) -> None:
    broken(pool, "OCI runtime create failed")
    caution = pool.fleet.caution
    with pool.sessions.read() as session:
        assert rental_history.blamed(session) == rental_history.blamed(session, in_force="broken") == {}
        tried = rental_history.trials(session, pool.clock.now, caution.quarantine_cap)
        blamed = rental_history.blamed(session, in_force="another")
        assert set(blamed) == {("broken", Failure.DRIVER_OCI)}
        assert quarantines(tried, caution, pool.clock.now).machines, "or this would prove nothing"
        assert quarantines(without(tried, blamed), caution, pool.clock.now).machines == {}


def test_a_template_that_ever_worked_is_not_blamed_and_the_machines_are(pool: Controller) -> None:
    broken(pool, "manifest unknown")
    while not pool.rows(State.CREATED):
        pool.step(10)
    pool.verify(pool.rows(State.CREATED)[0])
    with pool.sessions.read() as session:
        tried = rental_history.trials(session, pool.clock.now, pool.fleet.caution.quarantine_cap)
        assert rental_history.blamed(session) == rental_history.suspected(session, tried) == {}
        failures = [one for one in tried if one.failure is not None]
        assert rental_history.suspected(session, failures) == {}, "also when the success is too old"
        assert quarantines(tried, pool.fleet.caution, pool.clock.now).machines
