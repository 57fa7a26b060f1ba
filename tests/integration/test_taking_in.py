"""Calls and drops about boxes that have no row yet: after a lost database they wait, and none is refused."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from magister.control.executor import Executor
from magister.domain.actions import Adopt
from magister.domain.instance import Held
from magister.errors import InstanceEnded, TooEarly, UnknownInstance
from magister.reports import overview
from magister.states import Reason, State
from magister.store import pool as pool_row
from magister.store import requests, transitions
from magister.store.db.engine import Sessions
from magister.web.drops.queue import KeptDrops
from magister.web.drops.spool import Drop
from tests.builders import a_fleet, a_row, a_sighting, ago, an_offer, forget_instances
from tests.controller import Controller

NOBODYS = 4_242


class Died(BaseException):
    """End a process at once."""


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A pool of three that has lost its database."""
    pool = Controller(sessions, fleet=a_fleet(target=3))
    pool.vast.stock(an_offer() for _ in range(20))
    pool.filled()
    pool.clock.advance(600)
    with sessions.write() as session:
        forget_instances(session)
        pool_row.forget_listing(session)
    pool.restart()
    return pool


def callbacks(pool: Controller) -> dict[int, str]:
    """Return the offers that the instances call about, each with its callback key."""
    said = ((box.onstart or "").rpartition("/")[2].partition("?key=") for box in pool.vast.boxes.values())
    return {int(offer): key for offer, _, key in said if offer}


def offers(pool: Controller) -> list[int]:
    return list(callbacks(pool))


def asked(pool: Controller, offer: int, ask: str) -> str:
    """Ask for one offer as a worker, a beat or the coordinator does, and return what came of it."""
    now, key = pool.clock.now, callbacks(pool).get(offer)
    try:
        with pool.sessions.write() as session:
            if ask == "drop":
                requests.drop(session, offer, key=key, why="slow", now=now)
            else:
                requests.verify(session, offer, key=key, now=now, beat=ask == "beat")
    except TooEarly:
        return "early"
    except UnknownInstance:
        return "unknown"
    except InstanceEnded:
        return "ended"
    return "done"


def all_asked(pool: Controller) -> set[str]:
    return {asked(pool, offer, ask) for offer in offers(pool) for ask in ("verify", "beat")}


def die_after_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Executor._list

    def die(self: Executor, action: object) -> None:
        listed(self, action)  # type: ignore[arg-type] # it is the method's own
        raise Died

    monkeypatch.setattr(Executor, "_list", die)


def shown(sessions: Sessions) -> list[Mapping[str, object]]:
    """Return what is shown of the offers of all instances."""
    with sessions.read() as session:
        return [view.offer for view in overview.instances(session)]


def test_what_is_taken_in_shows_of_its_offer_what_the_listing_shows(pool: Controller) -> None:
    pool.vast.boxes = {
        contract: replace(box, offer='{"dph_total":0.25,"gpu_ram":24564}')
        for contract, box in pool.vast.boxes.items()
    }
    pool.filled()
    assert [(offer["dph_total"], offer["gpu_ram"]) for offer in shown(pool.sessions)] == [(0.25, 24564)] * 3


def test_what_was_taken_in_by_a_version_before_is_completed_by_the_next_listing(pool: Controller) -> None:
    pool.filled()
    assert all("gpu_ram" not in offer for offer in shown(pool.sessions))
    pool.vast.boxes = {
        contract: replace(box, offer='{"dph_total":0.25,"gpu_ram":24564}')
        for contract, box in pool.vast.boxes.items()
    }
    pool.run(60)
    assert [offer["gpu_ram"] for offer in shown(pool.sessions)] == [24564] * 3


def test_what_is_known_of_an_offer_from_the_market_is_left_as_it_is(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, offer=an_offer(details='{"dph_total":0.5}'))
        transitions.describe_offers(session, [(row, a_sighting(1, offer='{"dph_total":0.25}'))])
    assert [offer["dph_total"] for offer in shown(sessions)] == [0.5]


def test_a_call_between_the_first_listing_and_the_rows_waits(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, found = Executor.settle, list[set[str]]()

    def settle(self: Executor, action: object, now: object) -> None:
        found.append(all_asked(pool) | {asked(pool, NOBODYS, "drop")})
        settled(self, action, now)  # type: ignore[arg-type] # they are the method's own

    monkeypatch.setattr(Executor, "settle", settle)
    pool.step()
    assert found == [{"early"}, {"early", "done"}, {"early", "done"}]
    assert all_asked(pool) == {"done"}
    assert asked(pool, NOBODYS, "drop") == "unknown", "by now each box of ours has its row"


@pytest.mark.parametrize("ask", ["verify", "beat", "drop"])
def test_a_process_that_ends_before_it_took_the_boxes_in_leaves_the_calls_waiting(
    pool: Controller, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    with monkeypatch.context() as dying:
        die_after_listing(dying)
        with pytest.raises(Died):
            pool.step()
    assert {asked(pool, offer, ask) for offer in offers(pool)} == {"early"}
    pool.restart()
    pool.step(5)
    assert {asked(pool, offer, ask) for offer in offers(pool)} == {"done"}


def test_a_process_that_ends_once_it_took_some_in_leaves_the_calls_of_the_others_waiting(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt = transitions.adopt

    def die(*args: object, **kwargs: object) -> Held | None:
        if pool.rows():
            raise Died
        return adopt(*args, **kwargs)  # type: ignore[arg-type] # they are the function's own

    with monkeypatch.context() as dying:
        dying.setattr(transitions, "adopt", die)
        with pytest.raises(Died):
            pool.step()
    assert sorted(asked(pool, offer, "beat") for offer in offers(pool)) == ["done", "early", "early"]
    pool.restart()
    pool.step(5)
    assert all_asked(pool) == {"done"}


def test_drops_that_are_kept_are_carried_out_once_their_boxes_have_rows(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptDrops(pool.sessions, pool.clock.wall, None)
    asked_for = offers(pool)[:2]
    for offer in asked_for:
        kept.keep(Drop(offer_id=offer, key=callbacks(pool)[offer], why="slow", heard_at=pool.clock.now))
    settled = Executor.settle

    def settle(self: Executor, action: object, now: object) -> None:
        kept.write()
        settled(self, action, now)  # type: ignore[arg-type] # they are the method's own

    monkeypatch.setattr(Executor, "settle", settle)
    with capture_logs() as lines:
        pool.step()
        kept.write()
    assert [line["event"] for line in lines if line["event"].startswith("drop.")] == ["drop.heard"] * 2
    gone = {row.offer_id for row in pool.rows() if (State.DROPPING, Reason.COORDINATOR) in pool.story(row.id)}
    assert gone == set(asked_for)
    assert kept.conditions() == ()


def test_while_a_box_of_ours_cannot_be_taken_in_its_calls_wait(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt = transitions.adopt
    first = min(pool.vast.boxes)

    def adopted(session: object, action: Adopt, **kwargs: object) -> Held | None:
        if action.box.sighting.contract_id == first:
            raise RuntimeError("nobody thought of this")
        return adopt(session, action, **kwargs)  # type: ignore[arg-type] # they are the function's own

    with monkeypatch.context() as failing:
        failing.setattr(transitions, "adopt", adopted)
        pool.run(120)
        assert sorted(asked(pool, offer, "beat") for offer in offers(pool)[:3]) == ["done", "done", "early"]
    pool.run(60)
    assert all_asked(pool) == {"done"}
    assert asked(pool, NOBODYS, "verify") == "unknown"


def test_a_listing_without_any_box_of_ours_makes_unknown_offers_unknown(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=0))
    pool.vast.boxes[7] = a_sighting(7, label="training")
    assert asked(pool, NOBODYS, "verify") == "early"
    pool.step()
    assert asked(pool, NOBODYS, "verify") == "unknown"


def test_an_ended_instance_does_not_answer_for_a_box_on_its_offer_before_the_first_listing(
    pool: Controller,
) -> None:
    offer = offers(pool)[0]
    with pool.sessions.write() as session:
        a_row(session, state=State.DESTROYED, offer=an_offer(id=offer), at=ago(hours=48))
    assert asked(pool, offer, "beat") == "early"
    assert asked(pool, offer, "drop") == "early"
    pool.step()
    assert asked(pool, offer, "beat") == "done"
    assert len(pool.rows(State.VERIFIED)) == 3
    assert asked(pool, offer, "drop") == "done"
    assert len(pool.rows(State.DROPPING)) == 1
