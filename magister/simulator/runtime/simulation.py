"""All parts of a running simulation, and the lock that keeps them whole."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from magister.simulator.market.clock import Calendar
from magister.simulator.market.contracts import FIRST_ACCOUNT, Contract, Worker
from magister.simulator.market.market import Market
from magister.simulator.runtime.coordinator import Hierophant
from magister.simulator.runtime.faults import Faults
from magister.simulator.runtime.held_calls import Pen
from magister.simulator.runtime.rate_limits import Rates
from magister.simulator.runtime.request_log import Journal

DEFAULT_KEY = "simulated-key"
OTHER_KEY = "other-simulated-key"
TRIM_SECS = 300.0
RUNNABLE = (Worker.STARTING, Worker.VERIFIED)


@dataclass(slots=True, kw_only=True)
class Simulation:
    """Hold the market and what stands around it; `clock` gives simulated seconds.

    `other_keys` are those of further accounts, each with the account's id: they see none of one another's
    boxes, though all spend the same credit. Touch the parts only under `lock`.
    """

    market: Market
    clock: Callable[[], float]
    api_key: str = DEFAULT_KEY
    any_key: bool = False
    other_keys: Mapping[str, int] = field(default_factory=lambda: {OTHER_KEY: FIRST_ACCOUNT + 1})
    calendar: Calendar = field(default_factory=Calendar)
    rates: Rates = field(default_factory=Rates)
    faults: Faults = field(default_factory=Faults)
    journal: Journal = field(default_factory=Journal)
    hierophant: Hierophant = field(default_factory=Hierophant)
    pen: Pen = field(default_factory=Pen)
    lock: threading.RLock = field(default_factory=threading.RLock)
    logs: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    drops: list[dict[str, object]] = field(default_factory=list)
    deliver_drop: Callable[[int, str, str], None] | None = None
    stop: Callable[[], None] | None = None
    next_trim: float = 0.0

    def account(self, key: str | None) -> int | None:
        """Give the account that a key is of; None = nobody's, and that of no key at all is the first."""
        if key is not None and key in self.other_keys:
            return self.other_keys[key]
        return FIRST_ACCOUNT if key in {None, self.api_key} or self.any_key else None

    def advance(self) -> float:
        """Bring the market up to the clock's moment and give it; hold the lock."""
        now = self.clock()
        self.market.tick(now)
        if now >= self.next_trim:
            self.next_trim = now + TRIM_SECS
            self.hierophant.trim({box.id for box in self.market.live() if box.worker in RUNNABLE})
        return now

    def due_workers(self) -> list[Contract]:
        """Give the boxes whose worker is to be started now and mark them; hold the lock."""
        now = self.advance()
        due = [
            box
            for box in self.market.live()
            if box.worker is Worker.WAITING and box.worker_due is not None and box.worker_due <= now
        ]
        for box in due:
            box.worker = Worker.STARTING
            box.worker_due = None
            self.market.changes += 1
        return due

    def choose(self, contract_id: int | None) -> Contract:
        """Give the box an incident befalls.

        The one named, or one drawn among those running with a verified worker. Raises LookupError when there
        is none.
        """
        if contract_id is not None:
            if contract_id not in self.market.contracts:
                raise LookupError(f"no instance {contract_id} was ever rented")
            return self.market.contracts[contract_id]
        candidates = [
            box
            for box in self.market.live()
            if box.worker is Worker.VERIFIED and self.market.actual_status(box) == "running"
        ]
        if not candidates:
            raise LookupError("no running box with a verified worker")
        rng: random.Random = self.market.rng
        return rng.choice(candidates)
