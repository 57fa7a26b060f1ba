"""A seeded Vast market as a pure machine: machines, offers and contracts, advanced by `tick(now)`."""

import heapq
import random

from magister.simulator.market import billing, lifecycle, traffic
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import FIRST_ACCOUNT, Contract, Order, Worker, signed
from magister.simulator.market.errors import Refused, invalid_args, no_such_ask, no_such_instance
from magister.simulator.market.inventory import Estate
from magister.simulator.market.machines import Machine
from magister.simulator.market.offers import Chunk

FIRST_CONTRACT = 30_000_001
COARSEST_STEP = 60.0
DRIFT_STEP = 300.0
KEPT_AFTER_EXPIRY = 48 * 3600.0


class Market:
    """Keep the machines, offers, contracts and the credit that all accounts spend.

    It has no clock: every call is given the simulated moment, which must not run backwards. It is not safe
    for threads. `changes` counts what is worth saving.
    """

    def __init__(self, plan: MarketPlan, now: float = 0.0) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)  # noqa: S311 - reproducible, nothing is secret here
        self.now = now
        self.born = now
        self.credit = plan.credit
        self.estate = Estate(plan, self.rng)
        self.contracts: dict[int, Contract] = {}
        self.most_live = 0
        self.changes = 0
        self.agenda: list[tuple[float, int, str, int, int]] = []
        self.sequence = 0
        self.next_contract = FIRST_CONTRACT
        self.next_drift = now + DRIFT_STEP

    def tick(self, now: float) -> None:
        """Let everything happen that is due up to `now`, in its order, and bill for it."""
        step = max(COARSEST_STEP, (now - self.now) / 500)
        while self.now < now:
            self._advance(min(now, self.now + step))

    def _advance(self, until: float) -> None:
        while self.agenda and self.agenda[0][0] <= until:
            at, _, kind, subject, epoch = heapq.heappop(self.agenda)
            self.now = max(self.now, at)
            if kind == "back":
                self.host_back(subject)
            elif kind == "resurrect":
                self.resurrect(subject)
            elif self.contracts[subject].live and self.contracts[subject].epoch == epoch:
                self.happen(kind, self.contracts[subject])
        self.now = until
        while self.plan.price_drift and self.next_drift <= until:
            self._drift()
        for contract in self.live():
            self._bill(contract)
        self.settle()

    def _due(self, at: float, kind: str, subject: int, epoch: int = 0) -> None:
        self.sequence += 1
        heapq.heappush(self.agenda, (at, self.sequence, kind, subject, epoch))

    def _drift(self) -> None:
        self.next_drift += DRIFT_STEP
        self.estate.drift(self.plan.price_drift * (DRIFT_STEP / 3600) ** 0.5)

    def _bill(self, contract: Contract) -> None:
        online = not self.estate.under(contract).offline
        self.credit -= billing.accrue(contract, self.now, online=online)
        traffic.count(self.plan, contract, self.now)

    def happen(self, kind: str, contract: Contract) -> None:
        """Let one thing happen to a box now: a step of its boot, or a death of any kind.

        Raises ValueError for others.
        """
        self.changes += 1
        self._bill(contract)
        if kind == "offline":
            back = self.rng.random() < self.plan.return_share
            self.host_away(contract.machine_id, self.rng.uniform(*self.plan.away_secs) if back else None)
            return
        if kind in ("vanish", "console_delete"):
            self._end(contract, by="expiry" if kind == "vanish" else "console")
            return
        lifecycle.happen(kind, contract, self.now)
        if kind == "running":
            self._came_up(contract)
        if kind == "expired":
            self.estate.release(contract)
            self._due(self.now + KEPT_AFTER_EXPIRY, "vanish", contract.id, contract.epoch)

    def _came_up(self, contract: Contract) -> None:
        dud = self.estate.under(contract).dud
        if dud == "mute":
            contract.worker = Worker.MUTE
        else:
            contract.worker_due = self.now + self.rng.uniform(*self.plan.worker_secs)
        death = lifecycle.end(dud, self.plan, self.rng, self.now)
        if death is not None:
            self._due(*death, contract.id, contract.epoch)

    def host_away(self, machine_id: int, secs: float | None = None) -> None:
        """Let a host lose its connection, for some time or (None) for good.

        Its offers vanish, its boxes are `offline`.
        """
        for contract in self.on_machine(machine_id):
            self._bill(contract)
        self.estate.machines[machine_id].offline = True
        self.changes += 1
        if secs is not None:
            self._due(self.now + secs, "back", machine_id)

    def host_back(self, machine_id: int) -> None:
        """Let a host come back; nothing is billed for the time it was away."""
        for contract in self.on_machine(machine_id):
            self._bill(contract)
            contract.unheard = False
        self.estate.machines[machine_id].offline = False
        self.changes += 1

    def settle(self) -> None:
        """Stop all boxes when the credit is spent, as Vast does."""
        if self.credit > 0:
            return
        for contract in self.live():
            if contract.intended == "running":
                self.stop(contract.id, why="Account has no credit")

    def _end(self, contract: Contract, *, by: str, lingers: float = 0.0) -> None:
        self._bill(contract)
        self.estate.release(contract)
        contract.ended_at = self.now
        contract.ended_by = by
        contract.listed_until = self.now + lingers
        contract.epoch += 1
        contract.worker = Worker.ABSENT
        contract.worker_due = None
        self.changes += 1

    def live(self) -> list[Contract]:
        """Give the contracts that exist."""
        return [contract for contract in self.contracts.values() if contract.live]

    def on_machine(self, machine_id: int) -> list[Contract]:
        """Give the contracts that exist on one machine."""
        return [contract for contract in self.live() if contract.machine_id == machine_id]

    def listed(self, account: int = FIRST_ACCOUNT) -> list[Contract]:
        """Give the contracts a listing shows, which may lag behind a create or a destroy."""
        return [
            contract
            for contract in self.contracts.values()
            if contract.account == account
            and contract.listed_from <= self.now
            and (contract.live or self.now < contract.listed_until)
        ]

    def shown(self, contract_id: int, account: int = FIRST_ACCOUNT) -> Contract | None:
        """Give a contract as a look by id finds it: it lags behind a create, but not behind a destroy."""
        contract = self.contracts.get(contract_id)
        if contract is None or contract.account != account:
            return None
        return contract if contract.live and contract.listed_from <= self.now else None

    def owned(self, contract_id: int, account: int | None = None) -> Contract:
        """Give a contract that exists, of any account if `account` is None.

        Raises `Refused` with `no_such_instance`.
        """
        contract = self.contracts.get(contract_id)
        if contract is None or not contract.live or account not in {None, contract.account}:
            raise no_such_instance(contract_id)
        return contract

    def ends_at(self, machine: Machine) -> float:
        """Give the simulated moment until which a machine is on offer."""
        return self.born + machine.lifetime

    def offered(self, machine: Machine) -> bool:
        """Say whether a machine is still on offer."""
        return self.now < self.ends_at(machine)

    def actual_status(self, contract: Contract) -> str | None:
        """Give the status Vast reports, which hides the box's own while its host is not heard."""
        if self.estate.under(contract).offline:
            return "offline"
        return "unknown" if contract.unheard else contract.status

    def rent(
        self,
        offer_id: int,
        order: Order,
        *,
        listed_after: float = 0.0,
        stopped: bool = False,
        account: int = FIRST_ACCOUNT,
    ) -> tuple[Contract, bool]:
        """Rent an offer and say whether the box starts.

        A box that does not start (its GPUs are taken, or it is to be `stopped`) exists and bills for its disk
        all the same. `listed_after` hides it from listings for some seconds. Raises `Refused`.
        """
        chunk = self.estate.book.find(offer_id)
        if chunk is None:
            raise no_such_ask(offer_id, existed=False)
        if self.credit <= 0:
            words = "Your account lacks credit; see the billing page."
            raise Refused(self.plan.insufficient_credit_status, "insufficient_credit", words)
        if order.disk > self.estate.machines[chunk.machine_id].disk:
            raise invalid_args(f"error 400/3467: disk of {order.disk:g} GB is more than the offer has")
        free = self.estate.open(offer_id, chunk) and self.offered(self.estate.machines[chunk.machine_id])
        if not free and order.cancel_unavail:
            raise no_such_ask(offer_id, existed=True)
        contract = self._sign(offer_id, chunk, order, listed_after)
        contract.account = account
        starts = free and order.running and not stopped
        if starts:
            self._boot(contract)
        else:
            contract.intended = contract.status = "stopped"
        return contract, starts

    def _boot(self, contract: Contract) -> None:
        self.estate.take(contract)
        for at, kind in lifecycle.boot(self.estate.under(contract).dud, self.plan, self.rng, self.now):
            self._due(at, kind, contract.id, contract.epoch)
        self._due(contract.ends_at, "expired", contract.id, contract.epoch)

    def _sign(self, offer_id: int, chunk: Chunk, order: Order, lag: float) -> Contract:
        machine = self.estate.machines[chunk.machine_id]
        contract = signed(
            order,
            contract_id=self.next_contract,
            offer_id=offer_id,
            machine_id=machine.id,
            gpus=chunk.gpus,
            gpu_price=self.estate.hourly(machine, chunk),
            storage_price=machine.storage_price,
            api_key=f"{self.rng.getrandbits(256):064x}",
            now=self.now,
            ends_at=self.ends_at(machine),
            lag=lag,
            habits=traffic.habits(self.plan, self.next_contract, machine.host_id),
        )
        self.next_contract += self.rng.randint(1, 5)
        self.contracts[contract.id] = contract
        self.estate.book.use(offer_id)
        self.most_live = max(self.most_live, len(self.live()))
        self.changes += 1
        return contract

    def destroy(
        self, contract_id: int, *, lingers: float = 0.0, returns_after: float | None = None
    ) -> Contract:
        """End a contract; it may linger in listings, or come back as some have been seen to.

        Raises `Refused`.
        """
        contract = self.owned(contract_id)
        self._end(contract, by="client", lingers=lingers)
        if returns_after is not None:
            contract.listed_until = self.now
            self._due(self.now + returns_after, "resurrect", contract.id)
        return contract

    def resurrect(self, contract_id: int) -> Contract:
        """Bring an ended contract back: it boots anew, and its worker starts anew; raises KeyError."""
        contract = self.contracts[contract_id]
        if not contract.live:
            contract.ended_at = contract.ended_by = None
            contract.billed_until = self.now
            contract.epoch += 1
            if contract.intended == "running":
                contract.status = contract.status_msg = None
                self._boot(contract)
            self.most_live = max(self.most_live, len(self.live()))
            self.changes += 1
        return contract

    def stop(self, contract_id: int, why: str = "Stopped") -> Contract:
        """Stop a box: its GPUs may be rented by others, its disk still bills; raises `Refused`."""
        contract = self.owned(contract_id)
        self._bill(contract)
        contract.intended = "stopped"
        lifecycle.go_down(contract, "stopped", why)
        self.estate.release(contract)
        self.changes += 1
        return contract

    def start(self, contract_id: int) -> bool:
        """Start a stopped box again and say whether its GPUs were still free; raises `Refused`."""
        contract = self.owned(contract_id)
        if self.credit <= 0:
            raise Refused(400, "missing_billing", "You lack credit, see the billing page.")
        if contract.holds_gpus:
            return True
        if not self.estate.under(contract).free(tuple(contract.gpus)):
            return False
        contract.intended = "running"
        contract.epoch += 1
        self._boot(contract)
        self.changes += 1
        return True

    def relabel(self, contract_id: int, label: str) -> None:
        """Give a box another label; raises `Refused`."""
        self.owned(contract_id).label = label
        self.changes += 1
