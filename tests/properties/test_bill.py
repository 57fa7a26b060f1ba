"""In a simulated pool with all that changes a bill, the estimates are what Vast charges, within 1 %."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from random import Random

import pytest

from magister.domain.observed import Account, Charge, Listing, Offer, Order, Route, Sighting
from magister.errors import OfferGone
from magister.simulator.market import billing, contracts
from magister.simulator.market.clock import Calendar
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.views.instance import instance_view
from magister.simulator.views.search import search
from magister.states import State
from magister.store.accounting import invoice
from magister.store.db.engine import Sessions
from magister.vast import charges, response, schemas
from magister.vast import offers as market
from tests.builders import NOW, a_fleet
from tests.controller import Controller
from tests.fakes import FakeClock

HOURS = 26
"""From half an hour before midnight, over a whole day, until its charges are shown and read."""
UPSETS = ("price", "stop", "away", "price")
"""What happens on the side of hosts, in turn."""
CALENDAR = Calendar()


class MarketVast:
    """Read the answers of a simulated market as the client of Vast does, without HTTP in between."""

    def __init__(self, plan: MarketPlan, clock: FakeClock) -> None:
        self.clock = clock
        self.market = Market(plan, clock.now.timestamp())

    def listing(self, now: datetime) -> Listing:
        self.tick()
        return Listing(now, tuple(self._seen(box) for box in self.market.listed()))

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        query = market.query({}, storage=16, limit=64)
        offers = search(self.market, query, CALENDAR, rows_left=None)["offers"]
        assert isinstance(offers, list)
        return tuple(offer for offer in map(schemas.offer, offers) if isinstance(offer, Offer))

    def create(self, offer_id: int, order: Order) -> int:
        asked = contracts.Order(
            label=order.label, image="a/b", template=order.template_hash, onstart=order.onstart, env=(),
            disk=order.disk, runtype="ssh", args=(), bid=None, running=True, cancel_unavail=True,
        )  # fmt: skip
        try:
            return self.market.rent(offer_id, asked)[0].id
        except Refused as refusal:
            raise OfferGone(str(refusal)) from None

    def destroy(self, contract_id: int) -> None:
        if self.market.contracts[contract_id].live:
            self.market.destroy(contract_id)

    def show(self, contract_id: int) -> Sighting | None:
        found = self.market.shown(contract_id)
        return None if found is None else self._seen(found)

    def account(self) -> Account:
        return Account(50_000_000)

    def logs(self, contract_id: int, *, within: float) -> str:
        return ""

    def template_exists(self, template_hash: str) -> bool | None:
        return True

    def wait_secs(self, route: Route) -> float:
        return 0.0

    def charges(self, day: date) -> tuple[Charge, ...]:
        def fetch(token: str | None) -> charges.Page:
            told = billing.charges(
                self.market.contracts.values(), charges.filters(day), limit=20, after=token,
                latest_first=True, calendar=CALENDAR, shown_until=self.market.now - 3600,
            )  # fmt: skip
            return charges.page(response.read(200, {}, json.dumps(told).encode(), at=self.clock.now))

        return charges.complete(fetch)

    def tick(self) -> None:
        self.market.tick(self.clock.now.timestamp())

    def _seen(self, box: contracts.Contract) -> Sighting:
        found, _ = schemas.sighting(instance_view(self.market, box, CALENDAR))
        assert found is not None
        return found


def a_pool(sessions: Sessions, seed: int) -> tuple[Controller, MarketVast]:
    """Keep four boxes where machines fail, boxes stop and vanish, and hosts go offline and come back."""
    plan = MarketPlan(
        seed=seed,
        dud_share=0.15,
        boot_secs=(60.0, 300.0),
        mean_life_secs=8 * 3600.0,
        deaths=(("exit", 3.0), ("offline", 3.0), ("unknown", 1.0), ("vanish", 1.0)),
        away_secs=(300.0, 7200.0),
        image_gb=20.0,
        traffic_gb_hourly=(2.0, 20.0),
    )
    clock = FakeClock(now=NOW + timedelta(hours=11.5))
    pool = Controller(
        sessions,
        clock=clock,
        fleet=a_fleet(target=4, listing_every=timedelta(minutes=2), bills_every=timedelta(minutes=30)),
    )
    place = MarketVast(plan, clock)
    pool.vast = place  # type: ignore[assignment] # in place of the scriptable one
    pool.restart()
    return pool, place


def upset(place: MarketVast, random: Random, seen: Counter[str]) -> None:
    """Let a host change its prices, stop a box, or lose its connection, now and then."""
    place.tick()
    if not (live := place.market.live()) or random.random() > 0.012:
        return
    box = random.choice(live)
    what = UPSETS[seen.total() % len(UPSETS)]
    seen[what] += 1
    if what == "price":
        box.gpu_price *= random.choice((0.8, 1.1, 1.5))
        box.storage_price *= random.choice((0.5, 2.0))
    elif what == "stop":
        place.market.stop(box.id)
    elif not place.market.estate.under(box).offline:
        place.market.host_away(box.machine_id, random.uniform(300, 7200))


def test_the_estimate_is_within_one_per_cent_of_the_bill(sqlite_sessions: Sessions) -> None:
    pool, place = a_pool(sqlite_sessions, seed=2)
    random, seen = Random(2), Counter[str]()
    for _ in range(HOURS * 30):
        pool.step(120)
        upset(place, random, seen)
        for row in pool.rows(State.CREATED):
            box = place.market.contracts.get(row.contract_id or 0)
            if box is not None and box.status == "running" and place.market.estate.under(box).dud is None:
                pool.verify(row)
    now = pool.clock.now
    with sqlite_sessions.read() as session:
        found = invoice.reconcile(session, now.date() - timedelta(days=9), now.date(), now)
    assert found.first is not None
    assert found.last == found.first + timedelta(days=1)
    assert set(seen) == {"price", "stop", "away"}
    assert len(found.lines) > 8
    assert found.billed > 10_000_000
    rounding = 1000 * len(found.lines)  # Vast's, to three decimals
    assert found.billed - rounding <= found.estimated < found.billed * 1.01
    assert found.billed_traffic > 1_000_000
    assert found.estimated_traffic == pytest.approx(found.billed_traffic, rel=0.01)
