"""Each rental keeps why it was made, so that it can be explained and made again; and what a person bans."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from magister.domain.actions import Rent
from magister.domain.risk.quarantine import Quarantine, Quarantines
from magister.domain.risk.reputation import NOTHING_KNOWN, Group, Reputation, Tally
from magister.planner import decision_record
from magister.planner.decision_record import Decision
from magister.planner.plan import plan
from magister.states import State
from magister.store import bans, decisions
from magister.store.db.engine import Sessions
from magister.store.db.models_accounting import Choice
from tests.builders import NOW, a_fleet, a_row, a_view, an_offer
from tests.controller import Controller


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for two instances on a market of three machines and some that do not fit."""
    controller = Controller(sessions, fleet=a_fleet(target=2, max_price=500_000))
    controller.vast.stock(an_offer(price=100_000 * n, details='{"host": "says"}') for n in range(1, 4))
    controller.vast.stock([an_offer(price=900_000), an_offer(price=1, verification="unverified")])
    return controller


def choices(pool: Controller) -> list[Choice]:
    with pool.sessions.read() as session:
        return list(session.scalars(select(Choice).order_by(Choice.instance_id)))


def test_a_recorded_decision_makes_the_same_plan_again(pool: Controller) -> None:
    pool.filled()
    pool.drop(pool.rows()[0])
    pool.run(60)
    kept = choices(pool)
    assert len(kept) == 3
    for choice in kept:
        known = decision_record.read(choice.facts)
        rented = [
            action
            for action in plan(known.fleet, known.held, known.view, known.now).actions
            if isinstance(action, Rent)
        ]
        assert pool.row(choice.instance_id).offer_id in {action.offer.id for action in rented}
        assert decision_record.written(replace(known)) == choice.facts


def test_the_candidates_are_kept_with_their_numbers_and_each_rejection(pool: Controller) -> None:
    pool.step()
    found = decision_record.read_candidates(choices(pool)[0].candidates)
    assert [candidate.price for candidate in found if candidate.rejection is None] == [
        100_000,
        200_000,
        300_000,
    ]
    assert {candidate.rejection for candidate in found if candidate.rejection} == {
        "it costs more than cost_per_hour",
        "it is unverified, not verified",
    }
    best = found[0]
    unknown = NOTHING_KNOWN
    assert (best.verify, best.boot, best.life) == (unknown.verify, unknown.boot, round(unknown.life, 1))
    assert best.worth > best.price


def test_what_is_kept_names_no_secret(pool: Controller) -> None:
    pool.step()
    assert "says" not in choices(pool)[0].facts
    assert "onstart" not in choices(pool)[0].facts


def test_what_is_kept_does_not_grow_with_the_machines_that_were_ever_rented() -> None:
    offer, many = an_offer(), range(10_000, 13_000)
    view = a_view(
        offers=(offer,),
        reputation=Reputation(
            hosts={host: Group(Tally(tried=1)) for host in (*many, offer.host_id)},
            machines={machine: Tally(tried=1) for machine in (*many, offer.machine_id)},
        ),
        quarantines=Quarantines(
            {machine: Quarantine(NOW, "died once") for machine in (*many, offer.machine_id)}, {}
        ),
    )
    text = decision_record.written(Decision(a_fleet(), (), view, NOW))
    assert len(text) < 10_000
    kept = decision_record.read(text).view
    for known in (kept.reputation.hosts, kept.reputation.machines, kept.quarantines.machines):
        assert len(known) == 1


def test_what_was_decided_by_is_kept_of_the_last_rentals_whatever_ids_are_missing(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "REPLAYABLE", 3)
    monkeypatch.setattr(decisions, "EXPLAINED", 6)
    known = Decision(a_fleet(), (), a_view(), NOW)
    living = []
    with pool.sessions.write() as session:
        for number in range(9):
            row = a_row(session, state=State.VERIFIED if number == 1 else State.DESTROYED)
            if number % 4 != 2:  # as of a row that was adopted
                decisions.note(session, row, known)
            living += [row.id] if row.live else []
    kept = {choice.instance_id: choice.facts != "" for choice in choices(pool)}
    assert kept == {2: False, 4: False, 5: False, 6: False, 8: True, 9: True}
    assert living == [2], "which is kept for as long as it lives"


def test_a_banned_machine_is_not_rented_and_what_runs_there_goes_on(pool: Controller) -> None:
    pool.filled()
    cheapest = pool.rows()[0]
    assert cheapest.machine_id is not None
    with pool.sessions.write() as session:
        bans.ban(session, "machine", cheapest.machine_id, why="it is slow", at=NOW)
    pool.run(60)
    assert pool.row(cheapest.id).state is State.VERIFIED
    pool.drop(cheapest)
    pool.run(60)
    assert cheapest.machine_id not in {row.machine_id for row in pool.rows() if row.live}


def test_a_banned_host_is_not_rented_until_the_ban_is_taken_back(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock([an_offer(host_id=7)])
    with sessions.write() as session:
        bans.ban(session, "host", 7, why="first", at=NOW)
        bans.ban(session, "host", 7, why="it overcharges", at=NOW + timedelta(minutes=1))
    pool.run(70)
    assert pool.vast.boxes == {}
    with sessions.write() as session:
        assert [(one.kind, one.id, one.why) for one in bans.read(session)] == [("host", 7, "it overcharges")]
        assert bans.unban(session, "host", 7)
        assert not bans.unban(session, "host", 7)
    pool.run(70)
    assert len(pool.vast.boxes) == 1
