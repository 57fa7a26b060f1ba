"""The simulated market as a test looks at it, and what a test lets happen there."""

from collections import Counter
from dataclasses import dataclass

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.run import SimulatorServer
from magister.simulator.runtime.faults import Fault
from magister.simulator.runtime.incidents import befall
from magister.simulator.runtime.request_log import Entry


@dataclass
class Market:
    """Look at a simulation that runs in this process."""

    simulator: SimulatorServer

    def boxes(self) -> list[Contract]:
        """Return every contract there ever was."""
        with self.simulator.simulation.lock:
            self.simulator.simulation.advance()
            return list(self.simulator.simulation.market.contracts.values())

    def live(self) -> set[int]:
        """Return the contracts that exist."""
        return {box.id for box in self.boxes() if box.live}

    def verified(self) -> set[int]:
        """Return the contracts that exist and whose workers were told that they are welcome."""
        return {box.id for box in self.boxes() if box.live and box.worker is Worker.VERIFIED}

    def most_live(self) -> int:
        """Return how many boxes existed at one time at most, since they were counted anew."""
        return self.simulator.simulation.market.most_live

    def count_anew(self) -> None:
        """Forget how many boxes existed at one time before."""
        with self.simulator.simulation.lock:
            market = self.simulator.simulation.market
            market.most_live = len(market.live())

    def doubled_labels(self) -> list[str | None]:
        """Return the labels that more than one contract was ever made under."""
        return [label for label, times in Counter(box.label for box in self.boxes()).items() if times > 1]

    def dropped(self) -> set[int]:
        """Return the contracts whose drop, sent by the coordinator, was answered with 200."""
        with self.simulator.simulation.lock:
            told = list(self.simulator.simulation.drops)
        return {
            drop["instance"] for drop in told if drop["status"] == 200 and isinstance(drop["instance"], int)
        }

    def asked(self, route: str | None = None) -> int:
        """Count the calls to the market, or those on one route."""
        with self.simulator.simulation.lock:
            routes = self.simulator.simulation.journal.routes
            return sum(routes.values()) if route is None else routes[route]

    def entries(self, route: str) -> list[Entry]:
        """Return the calls on a route, oldest first."""
        with self.simulator.simulation.lock:
            return [entry for entry in self.simulator.simulation.journal.entries if entry.route == route]

    def happen(self, kind: str, contract: int | None = None) -> int:
        """Let an incident befall a contract, or a verified one, and return which."""
        details = {} if contract is None else {"instance": contract}
        with self.simulator.simulation.lock:
            struck = befall(self.simulator.simulation, kind, details)["instance"]
        assert isinstance(struck, int)
        return struck

    def hold(self, route: str, when: str) -> None:
        """Keep the next call on a route waiting, before its effect or after it."""
        with self.simulator.simulation.lock:
            fault = Fault(name="hold", route=route, when=when, count=1)
            self.simulator.simulation.faults.set(fault, self.simulator.simulation.advance())

    def held(self) -> list[dict[str, object]]:
        """Return the calls that are kept waiting."""
        return self.simulator.simulation.pen.held()

    def let_go(self) -> None:
        """Let what is held go on to its effect and its answer."""
        self.simulator.simulation.pen.release()

    def release(self, *, cut: bool = True) -> None:
        """Let go what is held, and hold nothing more: cut off, or to its effect and its answer."""
        with self.simulator.simulation.lock:
            self.simulator.simulation.faults.clear()
        self.simulator.simulation.pen.release(cut=cut)
