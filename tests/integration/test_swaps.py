"""Workers end all at once in a pool that cannot reach its target: one makes room for a canary."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.money import Budget
from magister.states import Reason, State
from magister.store import instances, pool, requests
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from tests.builders import ADDRESS, a_fleet, an_offer
from tests.controller import Controller

PRICE = 800_000
USD = 1_000_000
CAPPED = Budget(per_hour=4 * PRICE + PRICE // 2)
"""Leaves room for four of these."""

_ids = count(900_000)


class Pool:
    """A pool whose workers beat and are listed by Hierophant, until the coordinator restarts and all exit.

    A worker of an instance that is rented later calls within 30 s. The machine of an instance that is gone is
    on offer again, under another id, unless the market is paused.
    """

    def __init__(
        self,
        sessions: Sessions,
        offers: Iterable[Offer],
        *,
        expected: int = 4,
        beats: bool = True,
        listed: bool = False,
        **wanted: object,
    ) -> None:
        wanted = {"target": 5, **wanted}
        if listed:
            wanted["roster_every"] = timedelta(seconds=60)
        self.loop = Controller(sessions, fleet=a_fleet(**wanted), steady=True)
        self.beats, self.listed = beats, listed
        self.paused = self.cut = False
        self.dead: set[int] = set()
        self.seconds_paid_for_dead = 0.0
        self.loop.vast.stock(offers)
        self._let_machines_return()
        self.run(600)
        assert len(self.working()) == expected

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / 30)):
            self._listen()
            self.loop.step(30)
            there = {box.label for box in self.loop.vast.boxes.values()}
            billed = [row for row in self.loop.rows() if f"magister:{row.key}" in there]
            self.seconds_paid_for_dead += 30 * sum(row.id in self.dead for row in billed)
            if not self.cut:
                self.loop.verify_all()

    def restart_coordinator(self) -> None:
        """End every worker there is; nobody sends a drop."""
        self.dead |= {row.id for row in self.loop.rows(State.VERIFIED)}

    def working(self) -> list[Held]:
        return [row for row in self.loop.rows(State.VERIFIED) if row.id not in self.dead]

    def kept(self) -> list[Held]:
        return [row for row in self.loop.rows(State.VERIFIED) if row.id in self.dead]

    def reasons(self) -> list[Reason]:
        """Return why instances were given up, in the order of their rows."""
        stories = [self.loop.story(row.id) for row in self.loop.rows()]
        return [reason for story in stories for to, reason in story if to is State.DROPPING]

    def _listen(self) -> None:
        now = self.loop.clock.now
        working = self.working()
        self.loop.hierophant.living = {
            f"{ADDRESS}/drop/{row.offer_id}?key={row.callback_key}" for row in working
        } or {"http://x/1"}
        with self.loop.sessions.write() as session:
            pool.note_hearing(session, now, deaf_after=pool.deaf_after(self.loop.fleet.beat_timeout))
            for row in instances.held(session):
                if self.beats and not self.cut and row in working:
                    requests.verify(session, row.offer_id, key=row.callback_key, now=now, beat=True)

    def _let_machines_return(self) -> None:
        vast = self.loop.vast
        destroy: Callable[[int], None] = vast.destroy

        def destroyed(contract_id: int) -> None:
            box = vast.boxes.get(contract_id)
            destroy(contract_id)
            vast.offers = [
                replace(offer, id=next(_ids)) if box and offer.machine_id == box.machine_id else offer
                for offer in vast.offers
                if not self.paused
            ]

        vast.destroy = destroyed  # type: ignore[method-assign] # machines return


def many(number: int = 30) -> list[Offer]:
    return [an_offer(price=PRICE) for _ in range(number)]


@pytest.mark.parametrize("beats", [True, False], ids=["by silence", "by the list of workers"])
def test_of_five_of_which_four_fit_under_the_hourly_cap_all_dead_ones_are_replaced(
    sqlite_sessions: Sessions, beats: bool
) -> None:
    found = Pool(sqlite_sessions, many(), budget=CAPPED, beats=beats, listed=not beats)
    found.restart_coordinator()
    found.run(1800)
    assert found.kept() == []
    assert len(found.working()) == 4
    assert set(found.reasons()) == {Reason.SILENT if beats else Reason.FORGOTTEN}
    assert found.seconds_paid_for_dead < 4 * 1200


def test_of_six_of_which_a_thin_market_has_four_all_dead_ones_are_replaced(sessions: Sessions) -> None:
    found = Pool(sessions, many(4), target=6)
    found.restart_coordinator()
    found.run(1500)
    assert found.kept() == []
    assert len(found.working()) == 4


def test_below_the_target_a_canary_that_does_not_verify_keeps_the_others(sqlite_sessions: Sessions) -> None:
    found = Pool(sqlite_sessions, many(), budget=CAPPED)
    found.restart_coordinator()
    found.cut = True
    found.run(5400)
    assert len(found.kept()) == 3, "it may be the way to Magister that is cut"
    found.cut = False
    found.run(2700)
    assert (len(found.kept()), len(found.working())) == (0, 4)


def test_where_nothing_is_offered_in_exchange_one_goes_each_half_hour_and_the_bill_ends(
    sqlite_sessions: Sessions,
) -> None:
    found = Pool(sqlite_sessions, many(4), target=6)
    found.restart_coordinator()
    found.paused = True
    found.run(1500)
    assert len(found.kept()) == 3, "a trouble that passes costs one"
    found.loop.restart()
    found.run(1500)
    assert len(found.kept()) == 2
    found.run(2 * 1800)
    assert found.kept() == []


def test_boxes_that_are_all_out_of_reach_are_replaced_in_a_thin_market_as_well(
    sqlite_sessions: Sessions,
) -> None:
    found = Pool(sqlite_sessions, many(4), target=6, beats=False)
    found.restart_coordinator()
    for contract in found.loop.vast.boxes:
        found.loop.vast.change(contract, actual_status="offline")
    found.run(1800)
    assert (len(found.kept()), len(found.working())) == (0, 4)


@pytest.mark.parametrize("target", [5, 4], ids=["capped", "full"])
def test_what_is_held_back_does_not_pass_a_cap(sqlite_sessions: Sessions, target: int) -> None:
    found = Pool(sqlite_sessions, many(), target=target, budget=replace(CAPPED, total=6 * USD))
    found.restart_coordinator()
    found.cut = True
    found.run(2 * 3600)
    assert len(found.loop.vast.boxes) <= 1
    with sqlite_sessions.read() as session:
        assert spending.outlay(session, found.loop.clock.now).total <= 6 * USD
