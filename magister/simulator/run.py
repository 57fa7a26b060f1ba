"""Put a simulation together and run it: in threads for tests, or until a signal for people."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from flask import Flask, Response

from magister.simulator.http.listener import Listener
from magister.simulator.http.server import app_for
from magister.simulator.market.clock import Clock
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.market import Market
from magister.simulator.runtime.boxes import Boxes
from magister.simulator.runtime.coordinator import Hierophant
from magister.simulator.runtime.rate_limits import RatePlan, Rates
from magister.simulator.runtime.simulation import DEFAULT_KEY, Simulation
from magister.simulator.runtime.state_file import load, save
from magister.simulator.runtime.workers import Crew

log = logging.getLogger(__name__)

STEP_SECS = 0.25
SAVE_SECS = 2.0
SAVE_BILLS_SECS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Say how a simulation is run.

    `speed` is how much faster than life time passes, `rate_scale` stretches Vast's rate limits (0 = none),
    `workers` False leaves the boxes empty, `worker_host_map` maps hosts in drop endpoints to base URLs on
    loopback. `beats` keeps the onstart of each box running beside a process named `contemplant`, so that the
    beats in it are real, though only to loopback itself; without, an onstart ends once its worker started.
    """

    host: str = "127.0.0.1"
    port: int = 8556
    hierophant_port: int = 8557
    api_key: str = DEFAULT_KEY
    any_key: bool = False
    speed: float = 1.0
    rate_scale: float = 1.0
    retry_after_share: float = 0.25
    search_rows_per_day: int = 0
    plan: MarketPlan = field(default_factory=MarketPlan)
    workers: bool = True
    beats: bool = False
    worker_host_map: tuple[tuple[str, str], ...] = ()
    state_file: Path | None = None
    log_level: int = logging.INFO


class SimulatorServer:
    """Run a simulation in threads, from `start` (or entering it as a context) to `stop`.

    Raises OSError when a port is taken, ValueError for a bad option or a state file that cannot be read.
    `url` and `hierophant_url` have no slash at their end.
    """

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self.options = options = options or SimulatorOptions(port=0, hierophant_port=0)
        self.stopping = threading.Event()
        self.simulation = _assemble(options)
        self.simulation.stop = self.stopping.set
        self._boxes = Boxes(self.simulation, last=options.beats)
        self._crew = Crew(self.simulation, self._boxes, dict(options.worker_host_map))
        self.simulation.deliver_drop = self._crew.drop
        self._vast = Listener(app_for(self.simulation), options.host, options.port)
        try:
            self._hierophant = Listener(
                hierophant_app(self.simulation), options.host, options.hierophant_port
            )
        except OSError:
            self._vast.stop()
            raise
        self.url = self._vast.url
        self.hierophant_url = self._hierophant.url
        self._steps = threading.Thread(target=self._keep_stepping, name="steps", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve."""
        self._vast.start()
        self._hierophant.start()
        self._steps.start()
        log.info("simulating Vast at %s, Hierophant at %s", self.url, self.hierophant_url)

    def stop(self) -> None:
        """End within two seconds, calls that are held included, and save what there is to save.

        May be repeated.
        """
        self.stopping.set()
        self.simulation.pen.close()
        self._vast.stop()
        self._hierophant.stop()
        if self._steps.is_alive():
            self._steps.join()
        self._boxes.close()
        self._save()

    def _keep_stepping(self) -> None:
        changes, saved_at = self.simulation.market.changes, time.monotonic()
        while not self.stopping.wait(STEP_SECS):
            with self.simulation.lock:
                due = self.simulation.due_workers() if self.options.workers else []
                self.simulation.advance()
                now_changes = self.simulation.market.changes
            for contract in due:
                self._crew.start(contract)
            self._boxes.tend()
            age = time.monotonic() - saved_at
            if age >= SAVE_BILLS_SECS or (age >= SAVE_SECS and now_changes != changes):
                changes, saved_at = now_changes, time.monotonic()
                self._save()

    def _save(self) -> None:
        if self.options.state_file is None:
            return
        try:
            with self.simulation.lock:
                save(self.simulation, self.options.state_file)
        except OSError:
            log.exception("state not saved to %s", self.options.state_file)


def _assemble(options: SimulatorOptions) -> Simulation:
    found = None if options.state_file is None else load(options.state_file, options.plan)
    clock = Clock.resuming(None if found is None else found[0].now, options.speed)
    market, hierophant = found or (Market(options.plan, clock()), Hierophant())
    rates = RatePlan(
        seed=options.plan.seed,
        scale=options.rate_scale,
        retry_after_share=options.retry_after_share,
        search_rows_per_day=options.search_rows_per_day,
    )
    return Simulation(
        market=market,
        clock=clock,
        api_key=options.api_key,
        any_key=options.any_key,
        calendar=clock.calendar(),
        rates=Rates(rates),
        hierophant=hierophant,
    )


def hierophant_app(sim: Simulation) -> Flask:
    """Build the app of the coordinator's two lists."""
    app = Flask("magister.simulator.runtime.coordinator", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # a cut is the server's to see

    def view(index: int) -> Callable[[], Response]:
        def lists() -> Response:
            with sim.lock:
                return sim.hierophant.answer(index, sim.advance())

        return lists

    app.add_url_rule("/contemplants", "contemplants", view(0))
    app.add_url_rule("/dead-contemplants", "dead-contemplants", view(1))
    return app


def simulate(options: SimulatorOptions) -> None:
    """Run a simulation until SIGTERM, SIGINT or `POST /sim/stop`; ends within two seconds of it.

    Raises OSError when a port is taken, ValueError for a bad option or an unreadable state file. To be called
    from the main thread.
    """
    logging.getLogger("magister.simulator").setLevel(options.log_level)
    server = SimulatorServer(options)

    def end(signum: int, frame: FrameType | None) -> None:
        server.stopping.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with server:
            server.stopping.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
