"""Lives of hours under standing caps: what Vast bills to the second passes none of them, by nothing."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.errors import Transient
from magister.money import Budget
from magister.states import State
from magister.store import instances, pool, requests
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, an_offer
from tests.controller import Controller
from tests.simulation.database import in_memory

HOUR = 3600
LONGEST = 1.5 * HOUR
BEGINNINGS = (
    datetime(2026, 11, 24, 23, 17, 13, tzinfo=UTC),
    datetime(2026, 11, 30, 23, 11, 7, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 22, 59, tzinfo=UTC),
)
"""Near the end of a day, of a month, and of a February that is longer than most."""

PROMPT = 14 * 60
"""Seconds for which Vast may fail to destroy at most here: what is promised to be reserved."""


@dataclass
class Life:
    """A pool under caps, with a bill that is kept beside it to the second, as Vast keeps it.

    `silent` = nothing else goes wrong, but after half an hour no worker is heard any more.
    """

    sessions: Sessions
    seed: int
    silent: bool = False
    billed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"caps {self.seed}")
        self.budget = self._caps()
        target = self.rng.randint(2, 5)
        self.loop = Controller(self.sessions, fleet=a_fleet(target=target, budget=self.budget))
        self.loop.clock.now = self.begins = self.rng.choice(BEGINNINGS)
        self.dead: set[int] = set()
        self.risen, self.rises = False, self.seed % 2 == 1
        self.cut_until = self.refuses_until = self.begins
        self.ids = count(900_000)
        self.loop.vast.stock(self._offer() for _ in range(self.rng.choice((3, 6, 30))))
        self.loop.vast.status = "loading"
        self._let_destroys_fail()

    def live(self) -> None:
        """Live for hours; after each step no cap is passed, and all that is billed is known to be spent."""
        while (self.loop.clock.now - self.begins).total_seconds() < LONGEST:
            self._happen()
            secs = self.rng.choice((7, 29, 31, 47, 58))
            self._bill(secs)
            self.loop.clock.advance(secs)
            self._workers()
            self.loop.step()
            self._judge()

    def _judge(self) -> None:
        now, budget = self.loop.clock.now, self.budget
        day, month = f"{now:%Y-%m-%d}", f"{now:%Y-%m}"
        for period, cap in ((day, budget.per_day), (month, budget.per_month), ("total", budget.total)):
            assert cap is None or self.billed[period] <= cap * HOUR, (self.seed, period, now)
        if self.risen:  # a price that rose counts from the listing that shows it
            return
        with self.sessions.read() as session:
            known = spending.outlay(session, now)
        rounded = len(self.loop.rows())  # each is rounded down, to a whole micro-dollar
        for period, micros in ((day, known.day), (month, known.month), ("total", known.total)):
            assert (micros + rounded) * HOUR >= self.billed[period], (self.seed, period, now)

    def _bill(self, secs: int) -> None:
        """Add what each box costs until a moment, by its status, to its day, its month and to all."""
        for second in range(secs):
            at = self.loop.clock.now + timedelta(seconds=second)
            rate = sum(
                _rate(box.actual_status, box.price, box.disk_price) for box in self.loop.vast.boxes.values()
            )
            for period in (f"{at:%Y-%m-%d}", f"{at:%Y-%m}", "total"):
                self.billed[period] += rate

    def _workers(self) -> None:
        """Let boxes come up, their workers call, and the living beat."""
        now, vast = self.loop.clock.now, self.loop.vast
        for number, box in vast.boxes.items():
            if box.actual_status == "loading" and self.rng.random() < 0.6:
                vast.change(number, actual_status="running")
        running = {box.label for box in vast.boxes.values() if box.actual_status == "running"}
        with self.sessions.write() as session:
            pool.note_hearing(session, now, deaf_after=pool.deaf_after(self.loop.fleet.beat_timeout))
            for row in instances.held(session):
                works = row.wanted and row.id not in self.dead and f"magister:{row.key}" in running
                if works and now >= self.cut_until:
                    requests.verify(session, row.offer_id, key=row.callback_key, now=now, beat=True)

    def _happen(self) -> None:
        """Let something go wrong now and then."""
        vast, now = self.loop.vast, self.loop.clock.now
        if self.silent and now > self.begins + timedelta(minutes=30):
            self.cut_until = now + timedelta(hours=1)
        if self.silent or self.rng.random() > 0.12:
            return
        row = self.rng.choice(self._rented() or [None])
        match self.rng.randrange(10):
            case 0:
                self.dead |= {one.id for one in self._rented()}
            case 1 if row is not None:
                self.dead.add(row.id)
            case 2 if row is not None and row.contract_id in vast.boxes:
                runs = vast.boxes[row.contract_id].actual_status == "running"
                status = self.rng.choice(("exited", "offline", "unknown" if runs else "exited"))
                vast.change(row.contract_id, actual_status=status)
            case 3 if row is not None and row.contract_id in vast.boxes:
                vast.lose(row.contract_id)
            case 4 if self.rises and row is not None and row.contract_id in vast.boxes and row.price:
                self.risen = True
                vast.change(row.contract_id, price=int(row.price * self.rng.uniform(1.0, 1.9)))
            case 5:
                self.refuses_until = now + timedelta(seconds=self.rng.uniform(0, PROMPT))
            case 6:
                vast.before("listing", *[Transient("503")] * self.rng.randint(1, 2))
            case 7:
                self.cut_until = now + timedelta(seconds=self.rng.choice((120, 900, 5400)))
            case 8 if row is not None and row.state is not State.DROPPING:
                self.loop.drop(row)
            case _:
                self.loop.restart()

    def _rented(self) -> list[Held]:
        return [row for row in self.loop.rows() if row.live and row.contract_id is not None]

    def _caps(self) -> Budget:
        usd = 1_000_000
        lasting = ("per_day", "per_month", "total")
        names = self.rng.sample(
            lasting if self.silent else ("per_hour", *lasting), self.rng.choice((1, 1, 2))
        )
        caps = {name: int(self.rng.uniform(1.0, 4.0) * usd) for name in names}
        return Budget(
            per_hour=caps.get("per_hour"),
            per_day=caps.get("per_day"),
            per_month=caps.get("per_month"),
            total=caps.get("total"),
        )

    def _offer(self) -> Offer:
        return an_offer(price=self.rng.randint(200_000, 900_001), disk_price=self.rng.randint(0, 50_000))

    def _let_destroys_fail(self) -> None:
        """Let destroys fail while they are to; the machine of a box that is gone is offered again."""
        vast = self.loop.vast
        destroy = vast.destroy

        def destroyed(contract_id: int) -> None:
            if self.loop.clock.now < self.refuses_until:
                raise Transient("500")
            box = vast.boxes.get(contract_id)
            destroy(contract_id)
            machine = box.machine_id if box is not None else None
            vast.offers = [
                replace(offer, id=next(self.ids)) if offer.machine_id == machine else offer
                for offer in vast.offers
            ]

        vast.destroy = destroyed  # type: ignore[method-assign] # this Vast is in trouble


def _rate(status: str | None, price: int | None, disk: int | None) -> int:
    """Return what a box costs in a status, in micro-dollars per hour."""
    if status == "offline":
        return 0
    return (price or 0) if status in {"running", "unknown"} else (disk or 0)


@pytest.mark.parametrize(("seed", "silent"), [(0, False), (1, False), (2, True)])
def test_no_cap_is_passed_in_a_life_of_hours(seed: int, silent: bool) -> None:
    sessions = in_memory()
    life = Life(sessions, seed, silent=silent)
    life.live()
    sessions.engine.dispose()
    assert life.billed["total"] > 0
