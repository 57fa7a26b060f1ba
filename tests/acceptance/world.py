"""A world of its own for each test: a simulated market, a database, and a pool that is kept in them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.contracts import Contract
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.views.order import order_from
from magister.states import Reason, State
from tests.acceptance import records
from tests.acceptance.host import Host
from tests.acceptance.market import Market
from tests.acceptance.records import Story
from tests.ports import free_port
from tests.waiting import PATIENCE

T = TypeVar("T")

PLAN = MarketPlan(
    machines=80,
    dud_share=0.0,
    unverified_share=0.0,
    odd_share=0.0,
    boot_secs=(2.0, 8.0),
    worker_secs=(0.5, 1.0),
)
QUICK_PACE = {
    "TASK_POLLING_INTERVAL_SECS": "0.5",
    "PACE_CREATE_SECS": "0.15",
    "PACE_DESTROY_SECS": "0.1",
    "PACE_LIST_SECS": "0.02",
    "PACE_SHOW_SECS": "0.02",
    "PACE_SEARCH_SECS": "0.1",
    "PACE_SEARCH_CACHE_SECS": "2",
    "PACE_TICK_SECS": "0.05",
    "PACE_RECHECK_SECS": "0.2",
    "CAUTION_SHORT_LIFE_SECS": "0",  # tests drop workers that have just verified
}
HURRY = QUICK_PACE | {
    "CONTEMPLANT_VERIFICATION_TIMEOUT_SECS": "6",
    "VAST_API_CALL_BACKOFF_SECS": "0.2",
    "PACE_DESTROY_RETRY_SECS": "0.3, 5",  # two listings after a call prove that it came true
    "HEALTH_CREATE_GRACE_SECS": "1.5",
    "LEASE_LEASE_SECS": "2",
    "LEASE_RENEW_SECS": "0.5",
    # a worker that calls while the service is down exits for good, which looks like a bad machine
    "CAUTION_LAUNCH_BACKOFF_SECS": "0",
    "CAUTION_RECENT_SECS": "0",
    "CAUTION_TRIP": "64",
}
STEADY = HURRY | {
    "CONTEMPLANT_VERIFICATION_TIMEOUT_SECS": "90",
    "HEALTH_CREATE_GRACE_SECS": "60",
    "LEASE_LEASE_SECS": "90",
}
"""The same where nothing is given up because the machine stood still: where each box is counted."""


def a_market() -> SimulatorServer:
    """Return a market without flaws, whose time is short and whose limits are none."""
    return SimulatorServer(SimulatorOptions(port=0, hierophant_port=0, speed=20.0, rate_scale=0.0, plan=PLAN))


def settings_for(simulator: SimulatorServer, target: int, *, database: str, address: str) -> dict[str, str]:
    """Return what a host has to be told; `address` is where workers and coordinator reach the web side."""
    return {
        "THIS_MAGISTER_ADDR": address,
        "HIEROPHANT_IP": "127.0.0.1",
        "HIEROPHANT_HTTP_PORT": "9",
        "VAST_API_URL": simulator.url,
        "VAST_API_KEY": "simulated-key",
        "VAST_QUERY_COST_PER_HOUR": "5",
        "TEMPLATE_HASH": KNOWN_TEMPLATE,
        "NUMBER_INSTANCES": str(target),
        "CONTEMPLANT_VMS": "sp1",
        "DATABASE_URL": database,
    }


class Pool(Market):
    """Look at a pool from both sides: what the market has of it, and what the rows say.

    `strangers` counts the boxes on the account that are none of ours.
    """

    def __init__(self, simulator: SimulatorServer, target: int, database: str) -> None:
        super().__init__(simulator)
        self.target = target
        self.database = database
        self.strangers = 0

    @property
    def engine(self) -> str:
        """Name the database's engine."""
        return records.engine_of(self.database)

    def stories(self) -> list[Story]:
        """Return every row with its history."""
        return records.stories(self.database)

    def reasons(self, contract: int) -> list[Reason]:
        """Return why the row that knows a contract moved, its birth first; none = no row knows it yet."""
        return [
            step.reason
            for story in self.stories()
            if story.row.contract_id == contract
            for step in story.steps
        ]

    def ours(self) -> list[Contract]:
        """Return every contract there ever was under a label of ours."""
        return [box for box in self.boxes() if (box.label or "").startswith("magister:")]

    def listed(self) -> bool:
        """Say whether a listing has shown every box of ours: else one that goes is long believed to come."""
        return all(story.row.first_seen_at is not None for story in self.stories() if story.row.live)

    def rent_strangers(self, number: int) -> None:
        """Put boxes on the account that are none of ours, and lie there stopped."""
        with self.simulator.simulation.lock:
            market = self.simulator.simulation.market
            for offer_id, _, _ in market.estate.available()[:number]:
                order = order_from({"image": "private", "label": f"private {offer_id}"}, market.plan)
                market.rent(offer_id, order, stopped=True)
        self.strangers += number

    def full(self) -> bool:
        """Say whether as many are verified as wanted, and nothing else is live."""
        live = {box.id for box in self.ours() if box.live}
        if len(live) != self.target:
            return False
        rows = [story.row for story in self.stories() if story.row.live]
        return live == {row.contract_id for row in rows if row.state is State.VERIFIED} and len(rows) == len(
            live
        )


class World(Pool):
    """Run `magister serve` in a directory against a market; leaving it ends all that was started.

    `settings` are further environment variables; `DATABASE_URL` may be among them.
    """

    def __init__(
        self,
        directory: Path,
        simulator: SimulatorServer,
        target: int,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        given = dict(settings or {})
        database = given.get("DATABASE_URL", f"sqlite:///{directory}/magister.db")
        super().__init__(simulator, target, database)
        told = settings_for(simulator, target, database=database, address="http://127.0.0.1")
        self.host = Host(directory, told | given, free_port())
        self.start, self.terminate = self.host.start, self.host.terminate
        self.kill, self.kill_loop = self.host.kill, self.host.kill_loop
        self.members, self.running, self.answers = self.host.members, self.host.running, self.host.answers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self.kill()
        records.forget(self.database)

    def until(self, look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
        """Wait until something is seen while the service runs, and return it. Raises TimeoutError."""
        return self.host.until(look, what, patience=patience)

    def settled(self) -> bool:
        """Say whether the service is up and at rest: as many verified as wanted, and nothing else live."""
        return self.host.up and self.answers() and self.full()


@contextmanager
def a_world(directory: Path, target: int, **more: str) -> Iterator[World]:
    """Make a world in which everything hurries."""
    with a_market() as simulator, World(directory, simulator, target, HURRY | more) as world:
        yield world


@contextmanager
def a_steady_world(directory: Path, target: int, **more: str) -> Iterator[World]:
    """Make a world in which nothing is given up because the machine stood still."""
    with a_world(directory, target, **STEADY | more) as world:
        yield world
