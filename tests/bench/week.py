"""A week of a pool in a simulated market: the whole controller but the wire, from event to event."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import func, select, update

from magister.control.cache import route_of
from magister.control.executor import Executor
from magister.control.lanes import InlineLanes
from magister.control.launcher import Renter
from magister.control.reconciler import Clock, Report
from magister.control.reconciler import Worker as LoopWorker
from magister.errors import InstanceEnded
from magister.service import wiring
from magister.settings.spec import fleet
from magister.simulator.market import billing
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.market.market import Market
from magister.store import pool, requests
from magister.store.db.lease import LeaseHolder
from magister.store.db.models import Instance, Pool
from tests.bench.virtual_vast import VirtualVast, moment
from tests.controller import FreeLock
from tests.fakes import FakeClock, FakeHierophant
from tests.simulation.clock import EPOCH
from tests.simulation.database import in_memory
from tests.simulation.service import settings

DAY = 86_400.0
DRIFT_EVERY = 3600.0
BAD_WAYS = ("stuck_loading", "mute", "dies_soon")
"""Ways in which machines are bad, in turn: a box never boots, never verifies, or dies soon after it did."""

DEATHS = (("exit", 5.0), ("vanish", 2.0), ("worker_dies", 2.0), ("offline", 1.0))
"""How boxes on good machines die, and how often in proportion; a host that goes offline comes back."""


UNSTEADY_HOST, UNSTEADY_MACHINES, OUTAGE_SECS = 9_001, 8, 1800.0
"""The host whose machines lose their connection all at once, how many it has, and for how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Say what is played; money in USD, times in seconds, shares from 0 to 1."""

    target: int = 10
    secs: float = 7 * DAY
    machines: int = 60
    bad_share: float = 0.3
    """Of the machines, the cheapest of them."""
    price_range: tuple[float, float] = (0.30, 0.50)
    """Of one RTX 4090 per hour at the beginning; the cheapest machines are the bad ones."""
    drift_per_day: float = 0.1
    boot_secs: tuple[float, float] = (60.0, 300.0)
    mean_life: float = 12 * 3600.0
    bad_life: float = 300.0
    """Mean life of a box on a machine where they die soon."""
    ids_recur: bool = False
    """Whether an offer comes back under its old id when its box has ended."""
    outage_every: float | None = None
    """Mean time between two outages of the host that has the cheapest machines; None = there is no such."""
    poll: int = 30


@dataclass(slots=True)
class Measures:
    """Hold what was measured; box-seconds, and USD."""

    seed: int
    secs: float = 0.0
    filled_after: float | None = None
    working: float = 0.0
    working_after_fill: float = 0.0
    spent: float = 0.0
    useful: float = 0.0
    rentals: int = 0
    failures: int = 0
    steps: int = 0

    @property
    def availability(self) -> float:
        """Return which share of the target worked after the first fill; without one, all the time."""
        since = self.filled_after or 0.0
        return self.working_after_fill / max(self.secs - since, 1.0)

    @property
    def useless(self) -> float:
        """Return which share of the money paid for boxes whose worker did not work."""
        return 1 - self.useful / self.spent if self.spent else 0.0

    @property
    def per_hour(self) -> float:
        """Return what an hour of a verified worker cost, USD."""
        return self.spent / max(self.working / 3600, 1e-9)


def totals(found: Iterable[Measures]) -> Measures:
    """Add up."""
    whole = Measures(0)
    for one in found:
        sums = {
            name: getattr(whole, name) + getattr(one, name)
            for name in ("secs", "working", "spent", "useful", "rentals", "failures", "steps")
        }
        whole = replace(whole, **sums)
    return whole


@dataclass
class Week:
    """Run one pool from event to event, as long as the scene lasts."""

    scene: Scene
    seed: int
    placement: dict[str, object]
    caution: dict[str, object]
    wishes: dict[str, object] = field(default_factory=dict)  # other settings by name, of no group
    market: Market = field(init=False)
    measures: Measures = field(init=False)

    def __post_init__(self) -> None:
        """Stand up the market and the loop."""
        scene = self.scene
        self.market = a_market(scene, self.seed)
        self.measures = Measures(self.seed)
        self._drift = random.Random(f"prices {self.seed}")
        self._next_drift = EPOCH + DRIFT_EVERY
        self._outages = random.Random(f"outages {self.seed}")
        self._next_outage = self._drawn_outage(EPOCH)
        self._shown = -1
        self._sessions = in_memory()
        self._settings = settings(
            target=scene.target,
            poll=scene.poll,
            placement=self.placement,
            caution=self.caution,
            **self.wishes,
        )
        self._vast = VirtualVast(self.market, disk=self._settings.vast_query.priced_storage_gb)
        self._worker = self._assembled()
        self._paid: dict[int, float] = {}

    def run(self) -> Measures:
        """Let the time pass, and return what was measured."""
        ends = EPOCH + self.scene.secs
        with self._sessions.write() as session:
            session.execute(update(Pool).values(hearing_since=moment(EPOCH)))
        while self.market.now < ends:
            report = self._step()
            due = self._next_poll(self._next_event()) if self._at_rest() else self._next_step(report)
            self._let_pass(min(due, ends))
        return self._measured()

    def _let_pass(self, until: float) -> None:
        """Let time pass until the loop has something to do, or a poll that shows what it has not seen."""
        while self.market.now < until:
            self._pass(min(until, self._next_event(), self._next_drift, self._next_outage))
            if self.market.now >= self._next_outage:
                self._strike()
            if self.market.now >= self._next_drift:
                self._change_prices()
                self._next_drift += DRIFT_EVERY
            if self.market.changes != self._shown or self._boots():
                until = min(until, self._next_poll(self.market.now))

    def _step(self) -> Report:
        """Let the loop do what is due, and list where the poll would show it something new."""
        self._beat([box for box in self.market.live() if self._works(box)])
        if self.market.changes != self._shown or self._boots():
            with self._sessions.write() as session:
                pool.ask_for_listing(session, moment(self.market.now))
        self._shown = self.market.changes
        self.measures.steps += 1
        return self._worker.step(moment(self.market.now))

    def _beat(self, working: list[Contract]) -> None:
        """Write what beats would have written since the last time, and that the web side heard them."""
        now = moment(self.market.now)
        with self._sessions.write() as session:
            session.execute(update(Pool).values(heard_at=now))
            beaten = update(Instance).where(Instance.contract_id.in_([box.id for box in working]))
            session.execute(beaten.values(beaten_at=now))

    def _boots(self) -> bool:
        """Say whether a box comes up: while it does, each poll puts off what is expected of it."""
        return any(self.market.actual_status(box) != "running" for box in self.market.live())

    def _at_rest(self) -> bool:
        """Say whether all boxes work: until something happens, listings would show nothing new."""
        live = self.market.live()
        return len(live) == self.scene.target and all(self._works(box) for box in live)

    def _next_poll(self, secs: float) -> float:
        """Return when the first listing after a moment is due."""
        return secs + self.scene.poll - (secs - EPOCH) % self.scene.poll

    def _next_step(self, report: Report) -> float:
        waits = [self._vast.wait_secs(route_of(action)) for action in report.deferred]
        times = [self.market.now + max(wait, 0.5) for wait in waits]
        if report.next_at is not None:
            times.append(max(report.next_at.timestamp(), self.market.now + 0.02))
        return min(times, default=self.market.now + DAY)

    def _next_event(self) -> float:
        due = [box.worker_due for box in self.market.live() if box.worker_due is not None]
        happening = self.market.agenda[0][0] if self.market.agenda else float("inf")
        return max(min([happening, *due]), self.market.now + 1e-6)

    def _pass(self, until: float) -> None:
        """Let time pass in which nothing happens but what is due at its end, and measure it."""
        live = self.market.live()
        works = [box for box in live if self._works(box)]
        secs = until - self.market.now
        self.market.tick(until)
        self._count(live, works, secs)
        if not all(self._works(box) for box in works):
            self._beat(works)
        for box in self.market.live():
            if box.worker is Worker.WAITING and box.worker_due is not None and box.worker_due <= until:
                self._call(box)

    def _count(self, live: list[Contract], works: list[Contract], secs: float) -> None:
        measures, target = self.measures, self.scene.target
        if len(works) >= target and measures.filled_after is None:
            measures.filled_after, measures.working_after_fill = measures.secs, 0.0
        measures.secs += secs
        measures.working += len(works) * secs
        measures.working_after_fill += min(len(works), target) / target * secs
        useful = {box.id for box in works}
        for box in live:
            paid = billing.spent(box)
            new, self._paid[box.id] = paid - self._paid.get(box.id, 0.0), paid
            measures.spent += new
            measures.useful += new if box.id in useful else 0.0

    def _call(self, box: Contract) -> None:
        """Let the worker in a box call /verify, once."""
        box.worker_due = None
        try:
            with self._sessions.write() as session:
                requests.verify(
                    session, box.offer_id, key=None, now=moment(self.market.now), open_callbacks=True
                )
            box.worker = Worker.VERIFIED
        except InstanceEnded:
            box.worker = Worker.REFUSED

    def _works(self, box: Contract) -> bool:
        return box.worker is Worker.VERIFIED and self.market.actual_status(box) == "running"

    def _drawn_outage(self, after: float) -> float:
        mean = self.scene.outage_every
        return float("inf") if mean is None else after + self._outages.expovariate(1 / mean)

    def _strike(self) -> None:
        """Let all machines of the unsteady host lose their connection at once."""
        for machine in self.market.estate.machines.values():
            if machine.host_id == UNSTEADY_HOST:
                self.market.host_away(machine.id, OUTAGE_SECS)
        self._next_outage = self._drawn_outage(self.market.now)

    def _change_prices(self) -> None:
        spread = self.scene.drift_per_day * (DRIFT_EVERY / DAY) ** 0.5
        for machine in self.market.estate.machines.values():
            machine.gpu_price = round(machine.gpu_price * max(0.5, self._drift.gauss(1, spread)), 4)

    def _measured(self) -> Measures:
        failed = select(func.count()).where(Instance.failure.is_not(None), Instance.excused.is_(False))
        with self._sessions.read() as session:
            self.measures.failures = session.scalar(failed) or 0
        self.measures.rentals = len(self.market.contracts)
        self._sessions.engine.dispose()
        return self.measures

    def _assembled(self) -> LoopWorker:
        """Put the loop together as the service does, but for the client of Vast."""
        clock = Clock(lambda: moment(self.market.now), lambda: self.market.now)
        lease = LeaseHolder(
            self._sessions, FreeLock(), holder="week", lasts=timedelta(days=2), renew=timedelta(hours=12)
        )
        known = self._settings
        wanted = replace(fleet(known), listing_every=timedelta(days=1))  # this class polls for it
        renter = Renter(
            sessions=self._sessions,
            vast=self._vast,
            lease=lease,
            fleet=wanted,
            order=lambda row: wiring.order(known, row),
            clock=clock.wall,
        )
        executor = Executor(
            sessions=self._sessions,
            vast=self._vast,
            hierophant=FakeHierophant(FakeClock()),
            lease=lease,
            fleet=wanted,
            renter=renter,
            clock=clock.wall,
        )
        return LoopWorker(
            sessions=self._sessions,
            executor=executor,
            lease=lease,
            lanes=InlineLanes(),
            wait_secs=self._vast.wait_secs,
            fleet=wanted,
            clock=clock,
            rhythm=replace(wiring.rhythm(known), heartbeat=300.0),
        )


def a_market(scene: Scene, seed: int) -> Market:
    """Draw a market whose cheapest machines are bad, each in one of three ways."""
    plan = MarketPlan(
        seed=seed,
        machines=scene.machines,
        gpu_counts=(1,),
        gpu_names=("RTX 4090",),
        storage_only=0,
        dud_share=0.0,
        dud_life_secs=scene.bad_life,
        unverified_share=0.0,
        odd_share=0.0,
        boot_secs=scene.boot_secs,
        mean_life_secs=scene.mean_life,
        deaths=DEATHS,
        return_share=1.0,
        offer_ids_recur=scene.ids_recur,
        new_id_share=0.0 if scene.ids_recur else 0.5,
        price_range=scene.price_range,
        credit=1e6,
    )
    market = Market(plan, EPOCH)
    cheapest = sorted(market.estate.machines.values(), key=lambda machine: machine.gpu_price)
    bad = cheapest[: round(scene.bad_share * scene.machines)]
    random.Random(f"bad ways {seed}").shuffle(bad)
    for number, machine in enumerate(bad):
        machine.dud = BAD_WAYS[number % len(BAD_WAYS)]
    if scene.outage_every is not None:
        for machine in cheapest[len(bad) : len(bad) + UNSTEADY_MACHINES]:
            machine.host_id = UNSTEADY_HOST
    return market
