"""Where canaries go, and what becomes of a market whose cheapest machines are bad."""

from collections import Counter
from dataclasses import replace
from itertools import count

import pytest

from magister.domain.observed import Offer
from magister.states import State
from magister.store.db.engine import Sessions
from magister.vast.offers import CAP
from tests.builders import a_fleet, an_offer
from tests.controller import Controller

BOOT_SECS = 60
BAD, GOOD = 5, 20
CHEAP = 300_000


class Place:
    """A market of bad machines, on which no worker ever calls, and of dearer good ones.

    With a `life` the workers on bad machines do call, and their instances exit so many seconds later. When an
    instance ends, its machine is offered again, under a new offer id.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        gap: float,
        template: str | None = "new",
        life: float | None = None,
        bad: int = BAD,
    ) -> None:
        self.life = life
        self.pool = Controller(sessions, fleet=a_fleet(target=5, template_hash=template))
        worse = [an_offer(price=CHEAP + 100 * n) for n in range(bad)]
        good = [an_offer(price=round(CHEAP * (1 + gap)) + 1000 * n, reliability=0.99) for n in range(GOOD)]
        self.bad = {offer.machine_id for offer in worse}
        self.pool.vast.stock([*worse, *good])
        self._ids = count(100_000)

    def run(self, seconds: float, every: float = 5) -> None:
        """Let the time pass; workers on good machines call a minute after their instance was created."""
        for _ in range(int(seconds / every)):
            self.pool.step(every)
            self._call()
            self._exit()
            self._offer_again()

    def filled(self) -> bool:
        """Say whether the target works."""
        return len(self.pool.rows(State.VERIFIED)) == self.pool.fleet.target

    def works(self) -> bool:
        """Say whether the target works, and none of it on a bad machine."""
        return self.filled() and all(row.machine_id not in self.bad for row in self.pool.rows(State.VERIFIED))

    def rented(self) -> Counter[int | None]:
        """Count the rentals of each bad machine."""
        return Counter(row.machine_id for row in self.pool.rows() if row.machine_id in self.bad)

    def _call(self) -> None:
        for row in self.pool.rows(State.CREATED):
            waited = (self.pool.clock.now - (row.created_at or row.requested_at)).total_seconds()
            works = row.machine_id not in self.bad or self.life is not None
            if works and waited >= BOOT_SECS:
                self.pool.verify(row)

    def _exit(self) -> None:
        for row in self.pool.rows(State.VERIFIED):
            worked = (self.pool.clock.now - (row.verified_at or row.requested_at)).total_seconds()
            if row.machine_id in self.bad and self.life is not None and worked >= self.life:
                self.pool.vast.change(row.contract_id or 0, actual_status="exited")

    def _offer_again(self) -> None:
        used = {row.offer_id for row in self.pool.rows()}
        taken = {box.machine_id for box in self.pool.vast.boxes.values()}

        def again(offer: Offer) -> Offer:
            over = offer.id in used and offer.machine_id not in taken
            return replace(offer, id=next(self._ids)) if over else offer

        self.pool.vast.offers[:] = [again(offer) for offer in self.pool.vast.offers]


@pytest.mark.parametrize("gap", [0.03, 0.5], ids=["3 % dearer", "50 % dearer"])
@pytest.mark.parametrize("template", ["new", None], ids=["never worked", "not known"])
def test_a_new_template_fills_its_pool_although_the_cheapest_machines_are_bad(
    sqlite_sessions: Sessions, gap: float, template: str | None
) -> None:
    place = Place(sqlite_sessions, gap=gap, template=template)
    while not place.filled() and place.pool.clock.mono < 1000 + 1800:
        place.run(10)
    assert place.filled(), place.rented()
    assert max(place.rented().values()) == 1


@pytest.mark.parametrize("life", [45, 600], ids=["45 s", "10 min"])
def test_machines_on_which_instances_soon_end_are_left_although_all_of_them_end_together(
    sqlite_sessions: Sessions, life: float
) -> None:
    """Each time so many are lost at once that something else than the machines is suspected."""
    place = Place(sqlite_sessions, gap=0.2, life=life)
    while not place.works() and place.pool.clock.mono < 1000 + 3600:
        place.run(10)
    assert place.works(), place.rented()
    assert max(place.rented().values()) <= 4


@pytest.mark.parametrize(
    ("life", "within"), [(None, 1800), (45, 7200)], ids=["never verifies", "45 s, all together"]
)
def test_dearer_machines_are_tried_where_many_of_the_cheapest_are_bad(
    sqlite_sessions: Sessions, life: float | None, within: float
) -> None:
    place = Place(sqlite_sessions, gap=0.2, life=life, bad=40)
    while not place.works() and place.pool.clock.mono < 1000 + within:
        place.run(10)
    assert place.works(), place.rented()


def test_machines_behind_a_first_page_of_bad_ones_are_found(sqlite_sessions: Sessions) -> None:
    place = Place(sqlite_sessions, gap=0.2, bad=CAP + 6)
    while not place.works() and place.pool.clock.mono < 1000 + 3600:
        place.run(10)
    assert place.works(), place.rented()
    assert max(place.rented().values()) == 1
