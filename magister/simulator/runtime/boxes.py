"""The boxes that are real: each lasts as long as its contract, and the worker in it as long as its worker."""

import threading
from dataclasses import dataclass

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.runtime.shell import Box, Outcome, run_onstart
from magister.simulator.runtime.simulation import RUNNABLE, Simulation

SHELLS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Life:
    """Hold one run of a box; its contract counts them in `epoch`."""

    epoch: int
    box: Box


class Boxes:
    """Run the onstart of boxes, and keep their shells if they are to `last`; threads may share it."""

    def __init__(self, sim: Simulation, *, last: bool) -> None:
        self._sim = sim
        self._last = last
        self._lives: dict[int, Life] = {}
        self._revived: set[int] = set()
        self._closed = False
        self._guard = threading.Lock()
        self._shells = threading.Semaphore(SHELLS_AT_ONCE)

    def run(self, contract_id: int, epoch: int, onstart: str) -> Outcome:
        """Run an onstart until its worker starts, and tell what came of it."""
        with self._shells:
            if not self._last:
                return run_onstart(onstart, contract_id)
            box = Box(onstart, contract_id, speed=self._sim.calendar.speed)
            outcome = box.outcome()
        with self._guard:
            kept = outcome.environment is not None and not self._closed
            before = self._lives.pop(contract_id, None)
            if kept:
                self._lives[contract_id] = Life(epoch, box)
        for ended in (before.box if before else None, None if kept else box):
            if ended is not None:
                ended.end()
        return outcome

    def tend(self) -> None:
        """Do to the boxes what the market did, and bring back those that a simulator before this one had."""
        if not self._last:
            return
        with self._sim.lock, self._guard:
            market = self._sim.market
            found = [(market.contracts[key], life) for key, life in self._lives.items()]
            over = [self._lives.pop(its.id).box for its, life in found if its.epoch != life.epoch]
            dead = [life.box for its, life in found if its.worker not in RUNNABLE]
            cut = [(life.box, market.estate.under(its).offline) for its, life in found]
            missing = [contract for contract in market.live() if self._misses(contract)]
            self._revived |= {contract.id for contract in missing}
        for box in dead:
            box.end_worker()
        for box, offline in cut:
            box.cut_off(cut=offline)
        for box in over:
            box.end()
        for contract in missing:
            work = (contract.id, contract.epoch, contract.onstart or "")
            threading.Thread(target=self.run, args=work, name=f"box-{contract.id}", daemon=True).start()

    def _misses(self, contract: Contract) -> bool:
        tried = contract.id in self._lives or contract.id in self._revived
        return contract.worker is Worker.VERIFIED and not tried

    def close(self) -> None:
        """End all boxes, also those that are still on their way."""
        with self._guard:
            self._closed = True
            boxes = [life.box for life in self._lives.values()]
            self._lives.clear()
        for box in boxes:
            box.hang_up()
        for box in boxes:
            box.end()
