"""Which parts of machines are on offer, under which ids."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.machines import Machine

FIRST_OFFER = 20_000_001


@dataclass(frozen=True, slots=True)
class Chunk:
    """Name a part of a machine that is rented as a whole."""

    machine_id: int
    gpus: tuple[int, ...]


def chunks_of(machine: Machine) -> list[Chunk]:
    """Cut a machine into overlapping parts: all its GPUs, the halves, the quarters, down to single ones."""
    if machine.gpus == 0:
        return [Chunk(machine.id, ())]
    parts = []
    size = machine.gpus
    while size >= 1:
        starts = range(0, machine.gpus - size + 1, size)
        parts += [Chunk(machine.id, tuple(range(start, start + size))) for start in starts]
        size //= 2
    return parts


class OfferBook:
    """Give out offer ids and remember which were used.

    Vast: each offer id can be used to create one instance; offers of one machine come back under other ids.
    """

    def __init__(self, machines: Iterable[Machine], plan: MarketPlan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._next = FIRST_OFFER
        self._ever: dict[int, Chunk] = {}
        self._current: dict[Chunk, int] = {}
        self._used: set[int] = set()
        for machine in machines:
            for chunk in chunks_of(machine):
                self._publish(chunk)

    def _publish(self, chunk: Chunk) -> None:
        self._ever[self._next] = chunk
        self._current[chunk] = self._next
        self._next += self._rng.randint(1, 9)

    def find(self, offer_id: int) -> Chunk | None:
        """Give the part of a machine an id stands or once stood for."""
        return self._ever.get(offer_id)

    def open(self, offer_id: int) -> bool:
        """Say whether an id is still the current one of its chunk and was not used up."""
        chunk = self._ever.get(offer_id)
        return chunk is not None and self._current[chunk] == offer_id and offer_id not in self._used

    def current(self) -> list[tuple[int, Chunk]]:
        """Give all ids published at present, whether or not their GPUs are free."""
        return [(offer_id, chunk) for chunk, offer_id in self._current.items() if offer_id not in self._used]

    def use(self, offer_id: int) -> None:
        """Mark an id as rented."""
        self._used.add(offer_id)

    def returned(self, machine: Machine, gpus: tuple[int, ...]) -> None:
        """Publish again the chunks that touch GPUs given back, some of them under new ids."""
        for chunk in chunks_of(machine):
            if not set(gpus).intersection(chunk.gpus):
                continue
            offer_id = self._current[chunk]
            if self._plan.offer_ids_recur:
                self._used.discard(offer_id)
            elif offer_id in self._used or self._rng.random() < self._plan.new_id_share:
                self._publish(chunk)

    def saved(self) -> dict[str, object]:
        """Give the book as plain JSON values."""
        return {
            "next": self._next,
            "ever": [
                [offer_id, chunk.machine_id, list(chunk.gpus)] for offer_id, chunk in self._ever.items()
            ],
            "current": sorted(self._current.values()),
            "used": sorted(self._used),
        }

    def restore(
        self, ever: list[tuple[int, int, list[int]]], current: list[int], used: list[int], following: int
    ) -> None:
        """Take over a saved book."""
        self._ever = {offer_id: Chunk(machine, tuple(gpus)) for offer_id, machine, gpus in ever}
        self._current = {self._ever[offer_id]: offer_id for offer_id in current}
        self._used = set(used)
        self._next = following
