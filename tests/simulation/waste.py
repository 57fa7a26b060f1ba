"""What a pool pays for dead workers, and how often it rents: both are bounded whatever happens."""

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.runtime.simulation import Simulation
from tests.simulation.clock import VirtualTime

DEAD_WITHIN = 3600.0
"""Seconds within which an instance is gone once it could be known that its worker is dead.

Silence takes three minutes; the loss breaker holds losses for as much as ten, and replaces one instance
after another as long as the others are doubted.
"""

BOOTED_WITHIN = 180.0 + 600.0
"""Seconds from a create after which a worker that never called is dead: the timeout and the longest grace."""

OFFLINE_FOR = 600.0
"""Seconds for which Vast must say that an instance is out of reach before that means anything."""

SHORT = 600.0
"""Seconds: a worker that ended sooner after it verified has failed, and its end excuses no new rental."""

HOUR = 3600.0
TRIES = 12
"""Rentals in an hour that may fail: the backoff ends at half an hour, and then one is tried at a time."""

ALIVE = frozenset({Worker.WAITING, Worker.STARTING, Worker.VERIFIED})


@dataclass(slots=True, kw_only=True)
class Waste:
    """Follow the instances of a pool.

    `heard` are those that said themselves that their worker lives: silence tells of their end. `dead` holds
    for each how long it was paid for after it could be known to be dead, in seconds, and only those in which
    Magister could see and hear. `excuses` are moments that account for one rental each.
    """

    sim: Simulation
    time: VirtualTime
    heard: set[int] = field(default_factory=set)
    dead: dict[int, float] = field(default_factory=dict)
    longest: float = 0.0
    excuses: deque[float] = field(default_factory=deque)
    rented: deque[float] = field(default_factory=deque)
    busiest: float = 0.0
    _known: set[int] = field(default_factory=set)
    _ended: set[int] = field(default_factory=set)
    _away_since: dict[int, float] = field(default_factory=dict)
    _looked_at: float = 0.0
    _skew: float = 0.0

    def excuse(self, rentals: int) -> None:
        """Account for so many rentals more within the next hour."""
        self.excuses.extend([self.time.now] * rentals)

    def watch(self, boxes: Collection[Contract], going: Collection[int], *, fair: bool) -> None:
        """Take in what is there; `fair` = the loop lists and the web side hears. `going` are given up."""
        secs, self._looked_at = self.time.now - (self._looked_at or self.time.now), self.time.now
        if not fair or self._skew != self.time.skew:
            self.dead.clear()
            self._skew = self.time.skew
        refused = bool(self.sim.faults.active(self.time.now))
        for box in boxes:
            self._count_rental(box)
            if not box.live or not self._is_dead(box):
                self.dead.pop(box.id, None)
                continue
            self._count_end(box)
            if fair and not (refused and box.id in going):
                self.dead[box.id] = self.dead.get(box.id, 0.0) + secs
                self.longest = max(self.longest, self.dead[box.id])
        for past in (self.excuses, self.rented):
            while past and past[0] < self.time.now - HOUR:
                past.popleft()

    def kept_too_long(self) -> str:
        """Say which instance was paid for too long after its worker had died; "" = none."""
        late = [(secs, number) for number, secs in self.dead.items() if secs > DEAD_WITHIN]
        return "" if not late else "{1} was paid for {0:.0f} s after its worker was dead".format(*max(late))

    def rented_too_often(self, target: int) -> str:
        """Say that more was rented within an hour than `target`, ends and failures account for."""
        most = target + TRIES + target // 2 + len(self.excuses)
        self.busiest = max(self.busiest, len(self.rented) - len(self.excuses) - target * 1.5)
        if len(self.rented) <= most:
            return ""
        return f"{len(self.rented)} rentals within an hour, of which {most} are accounted for"

    def _count_rental(self, box: Contract) -> None:
        if box.id not in self._known:
            self._known.add(box.id)
            self.rented.append(self.time.now)
        if not box.live:
            self._count_end(box)

    def _count_end(self, box: Contract) -> None:
        """Let the end of one that worked for long account for its successor."""
        if box.id in self._ended:
            return
        self._ended.add(box.id)
        if box.verified_at is not None and self.time.now - box.verified_at >= SHORT:
            self.excuses.append(self.time.now)

    def _is_dead(self, box: Contract) -> bool:
        """Say whether nothing works in an instance, and that can be known by now."""
        now, status = self.time.now, self.sim.market.actual_status(box)
        if status in {"exited", "stopped"}:
            return True
        if status == "running":
            self._away_since.pop(box.id, None)
        elif now - self._away_since.setdefault(box.id, now) > OFFLINE_FOR and status == "offline":
            return True
        if box.verified_at is None:
            return now - box.created_at > BOOTED_WITHIN and box.worker is not Worker.STARTING
        return box.worker not in ALIVE and box.id in self.heard


def spread(waste: Waste) -> Counter[str]:
    """Return the measures of a run, for the sum of all."""
    return Counter({"dead": int(waste.longest), "rented": int(waste.busiest)})
