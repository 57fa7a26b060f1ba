"""All machines together: which GPUs are free, what is on offer and for how much."""

import random

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract
from magister.simulator.market.machines import Machine, build_machines
from magister.simulator.market.offers import Chunk, OfferBook


class Estate:
    """Keep the machines of a market and the offers on them.

    `price_factor` makes all offers dearer or cheaper.
    """

    def __init__(self, plan: MarketPlan, rng: random.Random) -> None:
        self.machines = {machine.id: machine for machine in build_machines(plan, rng)}
        self.book = OfferBook(self.machines.values(), plan, rng)
        self.price_factor = 1.0
        self._rng = rng

    def under(self, contract: Contract) -> Machine:
        """Give the machine a box stands on."""
        return self.machines[contract.machine_id]

    def available(self) -> list[tuple[int, Machine, Chunk]]:
        """Give the offers whose GPUs are free, with their machines."""
        places = (
            (offer_id, self.machines[chunk.machine_id], chunk) for offer_id, chunk in self.book.current()
        )
        return [(offer_id, machine, chunk) for offer_id, machine, chunk in places if machine.free(chunk.gpus)]

    def open(self, offer_id: int, chunk: Chunk) -> bool:
        """Say whether an offer can be rented now."""
        return self.book.open(offer_id) and self.machines[chunk.machine_id].free(chunk.gpus)

    def hourly(self, machine: Machine, chunk: Chunk) -> float:
        """Give the price of an offer's GPUs in dollars per hour; a storage-only offer has a token price."""
        return round(machine.gpu_price * self.price_factor * max(1, len(chunk.gpus)), 6)

    def take(self, contract: Contract) -> None:
        """Reserve the GPUs of a box, which takes every overlapping offer off the market."""
        self.under(contract).taken.update(dict.fromkeys(contract.gpus, contract.id))
        contract.holds_gpus = True

    def release(self, contract: Contract) -> None:
        """Give the GPUs of a box back; their offers return."""
        if not contract.holds_gpus:
            return
        contract.holds_gpus = False
        machine = self.under(contract)
        for index in contract.gpus:
            machine.taken.pop(index, None)
        self.book.returned(machine, tuple(contract.gpus))

    def drift(self, spread: float) -> None:
        """Change every machine's price by a random factor of this relative standard deviation."""
        for machine in self.machines.values():
            machine.gpu_price = round(machine.gpu_price * max(0.5, self._rng.gauss(1, spread)), 4)
