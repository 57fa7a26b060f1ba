"""How a box comes up and how it dies: the happenings of a life and when they are due."""

import random

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract, Worker

OCI_FAILURE = (
    "Error response from daemon: failed to create task for container: failed to create shim task: "
    "OCI runtime create failed: runc create failed: unable to start container process\n"
)

Happening = tuple[float, str]
"""A simulated moment and what happens then."""


def boot(dud: str | None, plan: MarketPlan, rng: random.Random, now: float) -> list[Happening]:
    """Draw how a box comes up from `now`.

    No status, `created`, `loading`, `running`, or how far a dud gets.
    """
    total = rng.uniform(*plan.boot_secs)
    steps = [(now + total * 0.1, "created"), (now + total * 0.25, "loading"), (now + total, "running")]
    if dud == "stuck_created":
        return [steps[0], (now + total * 0.25, "broken")]
    if dud == "stuck_loading":
        return steps[:2]
    return steps


def end(dud: str | None, plan: MarketPlan, rng: random.Random, now: float) -> Happening | None:
    """Draw when and how a box that has just come up dies; None when boxes are immortal.

    What dies soon on a dud is the worker, of a GPU that fails under load: the box runs on.
    """
    if dud == "dies_soon":
        return now + rng.expovariate(1.0 / plan.dud_life_secs), "worker_dies"
    if plan.mean_life_secs <= 0 or not plan.deaths:
        return None
    kinds = [kind for kind, _ in plan.deaths]
    weights = [weight for _, weight in plan.deaths]
    return now + rng.expovariate(1.0 / plan.mean_life_secs), rng.choices(kinds, weights)[0]


def happen(kind: str, contract: Contract, now: float) -> None:
    """Let happen what concerns the box alone; hosts and the account are the market's business."""
    match kind:
        case "created":
            contract.status = "created"
        case "broken":
            contract.status_msg = OCI_FAILURE
            contract.wrote(OCI_FAILURE.strip())
        case "loading":
            contract.status = "loading"
            contract.status_msg = f"Pulling from {contract.image}"
            contract.wrote(contract.status_msg)
        case "running":
            come_up(contract, now)
        case "exit":
            go_down(contract, "exited", "Container exited")
        case "unknown":
            contract.unheard = True
        case "worker_dies":
            if contract.status == "running" and contract.worker in (
                Worker.STARTING,
                Worker.VERIFIED,
                Worker.WAITING,
            ):
                contract.worker = Worker.DEAD
                contract.worker_due = None
        case "expired":
            contract.intended = "stopped"
            go_down(contract, "stopped", "Contract expired")
        case _:
            raise ValueError(f"no such happening: {kind}")


def come_up(contract: Contract, now: float) -> None:
    """Make a box `running`; its worker waits to be started."""
    contract.status = "running"
    contract.status_msg = f"success, running {contract.image}/{contract.runtype.split()[0]}\n"
    contract.wrote(contract.status_msg.strip())
    contract.running_since = now
    contract.worker = Worker.WAITING


def go_down(contract: Contract, status: str, why: str) -> None:
    """Take a box down to a status it does not leave by itself; its worker goes with it."""
    contract.wrote(why)
    contract.epoch += 1
    contract.status = status
    contract.status_msg = why
    contract.unheard = False
    contract.running_since = None
    contract.worker = Worker.ABSENT
    contract.worker_due = None
