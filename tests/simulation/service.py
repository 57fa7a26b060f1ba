"""The service as one process after another on the same database: begun, killed, begun again."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from magister.control.lanes import InlineLanes, Lanes
from magister.control.reconciler import Clock
from magister.service.wiring import Assembled, Surroundings, assembled
from magister.settings.model import Settings
from magister.simulator.market.config import KNOWN_TEMPLATE
from magister.simulator.runtime.simulation import DEFAULT_KEY
from magister.store.db.lease import KernelLock, LeaseHolder
from tests.controller import FreeLock
from tests.simulation.clock import Alarm, Until, VirtualTime
from tests.simulation.database import MortalSessions
from tests.simulation.death import Killed
from tests.simulation.journal import Journal
from tests.simulation.laws import Broken
from tests.simulation.overlap import OverlappingLanes

VAST = "vast.example"
COORDINATOR = "hierophant.example:9010"
MAGISTER = "http://magister.example:8555"


def settings(
    *,
    target: int,
    surge: object = 0,
    poll: object = 30,
    beats: object = 60,
    roster: object = 0,
    tick: object = 10,
    **given: object,
) -> Settings:
    """Return an operator's settings; the tick is long, for each one costs the test a look at the database."""
    return Settings.model_validate(
        {
            "this_magister_addr": MAGISTER,
            "hierophant_ip": "hierophant.example",
            "hierophant_http_port": 9010,
            "vast_api_key": DEFAULT_KEY,
            "vast_api_url": f"http://{VAST}",
            "template_hash": KNOWN_TEMPLATE,
            "number_instances": target,
            "task_polling_interval_secs": poll,
            "placement": {"surge": surge},
            "pace": {"tick_secs": tick},
            "contemplant": {"beat_secs": beats},
            "hierophant": {"poll_secs": roster},
            **given,
        }
    )


@dataclass(slots=True)
class OneLock:
    """The kernel lock that several processes want: one has it, and its death frees it."""

    holder: "Grip | None" = None


@dataclass(slots=True, eq=False)
class Grip:
    """The hand of one process on the lock."""

    lock: OneLock

    def take(self) -> bool:
        """Take the lock, or say that another holds it."""
        self.lock.holder = self.lock.holder or self
        return self.lock.holder is self

    def release(self) -> None:
        """Give the lock back."""
        if self.lock.holder is self:
            self.lock.holder = None


@dataclass(slots=True, kw_only=True)
class Service:
    """Run the loop; a death is followed by a new process that remembers nothing but what SQL holds."""

    settings: Settings
    sessions: MortalSessions
    time: VirtualTime
    journal: Journal
    between: Callable[[], None]
    begun: Callable[[], None]
    deaths: list[int] = field(default_factory=list)
    down: float = 1.0
    fell: Callable[[str], None] = lambda name: None
    lock: KernelLock = field(default_factory=FreeLock)
    machine: Assembled | None = None
    lanes: Lanes = field(default_factory=InlineLanes)
    make_lanes: Callable[[], Lanes] = InlineLanes

    def run(self, secs: float) -> None:
        """Let the service run for so many virtual seconds, however often it dies meanwhile."""
        until = self.time.now + secs
        while self.time.now < until:
            try:
                self._live(until)
            except Killed as death:
                self.kill()
                self.journal.note(f"the process dies {death}")
                self.fell(str(death))
                self.time.sleep(self.down)
                self._arm()
        self.sessions.death.after = None
        self.deaths.clear()

    def step(self) -> None:
        """Let the process take a single step."""
        if self.machine is None:
            self.machine = self._started()
            self.begun()
        self.machine.loop.worker.step(self.time.wall())

    def die_after(self, boundaries: tuple[int, ...], down: float) -> None:
        """Let the process die at the boundary after so many, and its successors in turn."""
        self.deaths, self.down = list(boundaries), down
        self._arm()

    def kill(self) -> None:
        """End the process without a word, between two steps: the kernel frees its lock."""
        self.machine = None
        self.lock.release()

    def stop(self) -> None:
        """End the process as SIGTERM does."""
        if self.machine is not None:
            with suppress(DBAPIError, Killed):
                self.machine.lease.release(self.time.wall())
        self.kill()

    def meanwhile(self) -> None:
        """Let other calls begin while one is on its way, if they may overlap."""
        if isinstance(self.lanes, OverlappingLanes):
            self.lanes.meanwhile()

    def _nap(self, secs: float) -> None:
        """Wait within a call, as between two pages of a listing: others may begin then too."""
        self.meanwhile()
        self.time.sleep(secs)

    def _arm(self) -> None:
        if self.deaths:
            self.sessions.death.after = self.deaths.pop(0)

    def _live(self, until: float) -> None:
        if self.machine is None:
            self.machine = self._started()
            self.begun()
        stop = self.machine.loop.stop
        assert isinstance(stop, Until)
        stop.moment = until
        try:
            self.machine.loop.run()
        except Exception as error:
            raise Broken(f"no error ends the loop: {error!r}") from error

    def _started(self) -> Assembled:
        self.journal.note("a process starts")
        self.lanes = lanes = self.make_lanes()
        finish = lanes.finish if isinstance(lanes, OverlappingLanes) else bool
        world = Surroundings(
            clock=Clock(self.time.wall, self.time.monotonic, LeaseHolder.time),
            nap=self._nap,
            lanes=lanes,
            lock=self.lock,
            stop=Until(self.time),
            wake=Alarm(self.time, self.between, finish),
        )
        return assembled(self.settings, self.sessions, world)
