"""A world for one service: a market, its boxes and their workers, a coordinator, and the laws."""

import heapq
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import requests
from flask import Flask

from magister.control.lanes import InlineLanes
from magister.domain.actions import Move, Plan
from magister.settings import spec
from magister.simulator.http.server import create_app
from magister.simulator.market.clock import Calendar
from magister.simulator.market.config import DEATHS, KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.contracts import Contract, Order
from magister.simulator.market.market import Market
from magister.simulator.run import hierophant_app
from magister.simulator.runtime.faults import Fault
from magister.simulator.runtime.incidents import befall
from magister.simulator.runtime.simulation import Simulation
from magister.states import State
from magister.store import restore as hindsight
from magister.store.db.engine import Sessions
from magister.web import create_app as create_web
from tests.simulation import health
from tests.simulation.clock import VirtualTime
from tests.simulation.database import MortalSessions, migrated, put_in_place, saved
from tests.simulation.death import Death
from tests.simulation.journal import Journal
from tests.simulation.laws import Laws
from tests.simulation.network import Network, VirtualPen, Watch
from tests.simulation.overlap import OverlappingLanes
from tests.simulation.purse import Caps
from tests.simulation.rival import Rival, a_rival
from tests.simulation.script import Freeze
from tests.simulation.service import COORDINATOR, MAGISTER, VAST, Grip, OneLock, Service, settings
from tests.simulation.tales import Tales
from tests.simulation.workers import Workers, wait

CLAIMED = "after the commit of Executor._claim_destroy"
"""The boundary at which a loop has just written that it asks for a destroy."""

STRANGERS = (
    ("magister:0123456789abcdef0123456789abcdef", "http://another.example:8555/drop/7"),
    ("magister:fedcba9876543210fedcba9876543210", "http://magister.example:8556/drop/10"),
    ("another:0123456789abcdef0123456789abcdef", "http://another.example:8555/drop/8"),
    ("magister", "http://another.example:8555/drop/9"),
    (None, None),
)
"""Label and drop address of boxes on the same account that are none of ours."""


class World:
    """Stand everything up around `sessions`, which hold a migrated, empty database."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        seed: int = 1,
        target: int = 1,
        surge: int = 0,
        poll: int = 30,
        plan: MarketPlan | None = None,
        begins: float = 0.0,
        reserve_gb: float = 0.0,
        meddling: int = 0,
        overlapping: bool = False,
        **given: object,
    ) -> None:
        """Take the seed of the market and of chance, and what of the settings is to be other than usual.

        It `begins` so many seconds after EPOCH; `reserve_gb` is set aside for the traffic of each box.
        `meddling` is how often in a hundred plans workers call before its moves are made, and `overlapping`
        = calls to Vast are under way at the same time.
        """
        self.meddling, self.overlapping = meddling, overlapping
        self.time = VirtualTime(self._slice, begins=begins)
        self.tales = Tales(self.time.true)
        self.journal = Journal(self.time.true)
        self._given = {"surge": surge, "poll": poll, **given}
        self.settings = settings(target=target, **self._given)
        self.rng = random.Random(f"world {seed}")
        self.loop_sessions = MortalSessions(sessions.engine)
        self.web_sessions = MortalSessions(sessions.engine)
        self.sim = self._market(plan or MarketPlan(seed=seed, dud_share=0.0, boot_secs=(5.0, 40.0)))
        self.strangers = [self._stranger(*words) for words in STRANGERS]
        self.workers = self._crew()
        self.sim.deliver_drop = self.workers.drop
        self.laws = Laws(
            sim=self.sim,
            engine=sessions.engine,
            time=self.time,
            drop_prefix=f"{MAGISTER}/drop/",
            bound=target + surge,
            foreign=frozenset(box.id for box in self.strangers),
        )
        self.laws.purse.reserve_gb = reserve_gb
        self.workers.heard = self.laws.waste.heard
        self.network = self._wire()
        lock = OneLock()
        self.service = self._process(self.loop_sessions, Grip(lock))
        self.other = self._process(MortalSessions(sessions.engine), Grip(lock))
        self.died = 0
        self.froze = 0
        self.deaths: list[str] = []
        self._web_falls_too = False
        self._engine = sessions.engine
        self._backup: bytes | None = None
        self.rival: Rival | None = None
        self.network.meanwhile = self.service.meanwhile
        self.network.retold = self.tales.retold
        self.laws.heard_at = self.workers.heard_at

    @property
    def death(self) -> Death:
        """Return where the loop's process dies."""
        return self.loop_sessions.death

    @property
    def market(self) -> Market:
        """Return the market."""
        return self.sim.market

    def fault(self, name: str, **more: object) -> None:
        """Set a fault of the simulator."""
        self.sim.faults.set(Fault(name=name, **more), self.time.now)  # type: ignore[arg-type] # Fault's own fields

    def run(self, secs: float) -> None:
        """Let the service run."""
        self.service.run(secs)

    def die_after(self, boundaries: tuple[int, ...], *, down: float = 1.0, web_too: bool = False) -> None:
        """Let the process die at the boundary after so many, and its successors in turn.

        `down` is how many seconds pass until the next begins; `web_too` = the web side is as long away.
        """
        self._web_falls_too = web_too
        self.service.die_after(boundaries, down)

    def freeze(self, freeze: Freeze) -> None:
        """Let the process stand still for a while, and the other one, which shares the database, go on.

        Afterwards that one stands still in its turn, as long as it neither died nor was stopped.
        """

        def stand_still(name: str) -> None:
            self.journal.note(f"the process stands still {name}")
            self.froze += 1
            self.other.die_after(freeze.deaths, down=1.0)
            with self._acting(self.other):
                self.other.run(freeze.secs)
            {"killed": self.other.kill, "stopped": self.other.stop}.get(freeze.ends, bool)()
            self.journal.note("it goes on")

        self.death.freezes, self.death.freeze = freeze.at, stand_still

    @contextmanager
    def _acting(self, other: Service) -> Iterator[None]:
        """Let another process have the wire for a while; each has its own listing under way."""
        frozen, look = self.loop_sessions, self.laws.look
        self.loop_sessions = other.sessions
        self.network.death, self.network.meanwhile = other.sessions.death, other.meanwhile
        self.laws.restarted()
        try:
            yield
        finally:
            self.loop_sessions, self.laws.look = frozen, look
            self.network.death, self.network.meanwhile = frozen.death, self.service.meanwhile
            self.laws.restarted()

    def retarget(self, target: int) -> None:
        """Start the service anew with another target."""
        self._set(target)
        self.laws.retarget(target + self.settings.placement.surge)

    def afford(self, caps: Caps) -> None:
        """Start the service anew with another budget."""
        self._given["budget"] = {**caps.settings(), "traffic_reserve_gb": self.laws.purse.reserve_gb}
        self._set(self.settings.number_instances)
        self.laws.afford(caps)

    def reload(self, **settings: object) -> None:
        """Start the service anew with other settings."""
        self._given |= settings
        self._set(self.settings.number_instances)

    def lose_database(self) -> None:
        """Start the service anew on a database that is empty."""
        self._replace_database(migrated())

    def back_up(self) -> None:
        """Copy the database as it is."""
        self._backup = saved(self._engine)

    def restore(self) -> None:
        """Put the last copy back, as the command does."""
        if self._backup is None:
            return
        self._replace_database(self._backup)
        with self.web_sessions.write() as session:
            hindsight.doubt(session, fleet=spec.fleet(self.settings), at=self.time.wall())
        self.laws.begin_anew()

    def _replace_database(self, image: bytes) -> None:
        for process in (self.service, self.other):
            process.kill()
        put_in_place(self._engine, image)
        self.workers.web = self._web()
        self.workers.signed_at = 0.0
        self.laws.begin_anew()

    def _set(self, target: int) -> None:
        self.settings = settings(target=target, **self._given)
        for process in (self.service, self.other):
            process.settings = self.settings
            process.kill()

    def ease(self) -> None:
        """Let no call fail any more, and no process; caps, market and machines stay as they are."""
        self.sim.faults.clear()
        self.network.calm()
        self.tales.calm()
        self.workers.cut_off.clear()
        self.workers.doomed = 0
        self.workers.down_until = min(self.workers.down_until, self.time.now)
        for sessions in (self.loop_sessions, self.other.sessions, self.web_sessions):
            sessions.death.spare()
            sessions.trouble.begins = sessions.trouble.commits = sessions.trouble.answers = 0
        self.market.credit = max(self.market.credit, 1000.0)
        self.sim.hierophant.away = None

    def calm(self) -> None:
        """Let all faults stop: none is set, no host is away, no machine is a dud, nothing dies by itself."""
        self.end_rival()
        self.ease()
        market = self.market
        market.plan = replace(market.plan, mean_life_secs=0.0)
        market.agenda = [entry for entry in market.agenda if entry[2] not in DEATHS]
        heapq.heapify(market.agenda)
        for machine in market.estate.machines.values():
            machine.dud = None
            if machine.offline:
                market.host_back(machine.id)
        for box in market.live():
            box.unheard = False
        self.afford(Caps())

    def converge(self, *, stays: float = 100.0) -> float:
        """Let the pool come to exactly what is wanted, and stay so; give the seconds it took.

        Raises Broken if it does not within the bound.
        """
        return health.converge(self, stays=stays)

    def _slice(self) -> None:
        with self.sim.lock:
            self.sim.advance()
            self.workers.step()
        self.laws.census()

    def _fell(self, boundary: str) -> None:
        self.died += 1
        self.deaths.append(boundary)
        if self._web_falls_too:
            self.workers.down_until = self.time.now + self.service.down

    def meddle(self, planned: Plan) -> None:
        """Perhaps let workers that are about to be given up call just before, or the coordinator another."""
        if self.rng.randrange(100) >= self.meddling:
            return
        moves = [action for action in planned.actions if isinstance(action, Move)]
        for move in moves:
            box = self.market.contracts.get(move.row.contract_id or 0)
            if box is not None and box.live and move.to is State.DROPPING:
                self.workers.call_now(box)
        ours = self.laws.ours()
        if moves and ours and self.rng.random() < 0.1:
            befall(self.sim, "coordinator_drop", {"instance": self.rng.choice(ours).id})

    def begin_rival(self) -> None:
        """Let another service with the same settings and an empty database act beside this one."""
        self.end_rival()
        self.rival = a_rival(self.service)
        self.laws.claims.since = self.time.now

    def end_rival(self) -> None:
        """Let the other service end, and a person end what it rented."""
        if self.rival is None:
            return
        self.rival.service.stop()
        self.rival.service.sessions.engine.dispose()
        self.rival = None
        for box in self.market.live():
            if self.laws.claims.are_its(box):
                befall(self.sim, "console_delete", {"instance": box.id})

    def _step_rival(self) -> None:
        if self.rival is None or self.time.now < self.rival.next_at:
            return
        self.laws.claims.acts = True
        try:
            with self._acting(self.rival.service):
                self.rival.step()
        finally:
            self.laws.claims.acts = False

    def _between(self) -> None:
        self._step_rival()
        self.laws.deaf_until = max(self.laws.deaf_until, self.workers.down_until)
        self.laws.check()
        self.laws.hold(
            "no error is unforeseen", not self.journal.unforeseen, "".join(self.journal.unforeseen)
        )

    def _market(self, plan: MarketPlan) -> Simulation:
        market = Market(plan, self.time.now)
        self.vast = create_app(market, clock=self.time.true, calendar=Calendar(self.time.now, self.time.now))
        simulation: Simulation = self.vast.extensions["simulation"]
        return simulation

    def _stranger(self, label: str | None, drop: str | None) -> Contract:
        offer_id = self.rng.choice(self.market.estate.available())[0]
        onstart = None if drop is None else f'export MAGISTER_DROP_ENDPOINT="{drop}"\n'
        order = Order(
            label=label,
            image="someone/else",
            template=KNOWN_TEMPLATE,
            onstart=onstart,
            env=(),
            disk=16.0,
            runtype="ssh",
            args=(),
            bid=None,
            running=True,
            cancel_unavail=False,
        )
        contract, _ = self.market.rent(offer_id, order)
        contract.worker_due = None
        return contract

    def _web(self) -> Flask:
        return create_web(
            self.settings, self.web_sessions, clock=self.time.wall, nap=wait, monotonic=self.time.monotonic
        )

    def _crew(self) -> Workers:
        return Workers(
            sim=self.sim,
            web=self._web(),
            sessions=self.web_sessions,
            address=MAGISTER,
            time=self.time,
            journal=self.journal,
            patience=self.settings.web.busy_timeout_secs,
        )

    def _process(self, sessions: MortalSessions, lock: Grip) -> Service:
        service = Service(
            settings=self.settings,
            sessions=sessions,
            time=self.time,
            journal=self.journal,
            between=self._between,
            begun=self.laws.restarted,
            fell=self._fell,
            lock=lock,
            make_lanes=(lambda: OverlappingLanes(self.rng)) if self.overlapping else InlineLanes,
        )

        def passing(name: str) -> None:
            if name == CLAIMED and service.machine is not None:
                self.laws.judge_fence(service.machine.lease.fence)

        sessions.death.passing = passing
        return service

    def _wire(self) -> Network:
        pen = VirtualPen(self.time, self.settings.pace.timeout_secs)
        self.sim.pen = pen
        watch = Watch(leaving=self._leaving, arrived=self.laws.census, ended=self._ended)
        return Network(
            time=self.time,
            pen=pen,
            death=self.death,
            journal=self.journal,
            apps={VAST: self.vast, COORDINATOR: hierophant_app(self.sim)},
            watch=watch,
            patience=self.settings.pace.timeout_secs,
        )

    def _leaving(self, route: str, request: requests.PreparedRequest) -> None:
        self.laws.leaving(route, request, self.loop_sessions.usage.sessions)

    def _ended(self, route: str, request: requests.PreparedRequest, outcome: str) -> None:
        self.laws.ended(route, request, outcome, more_pages=self.tales.more_pages)
