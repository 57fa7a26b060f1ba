"""What can befall a box, a host, the coordinator or the market at the push of a button."""

from collections.abc import Mapping

from magister.simulator.contracts import Contract, Worker
from magister.simulator.query import number
from magister.simulator.simulation import RUNNABLE, Simulation

OF_A_BOX = (
    "exit",
    "unknown",
    "vanish",
    "console_delete",
    "worker_dies",
    "offline",
    "back",
    "stop",
    "resurrect",
)
KINDS = (*OF_A_BOX, "coordinator_drop", "coordinator_restart", "price_rise")
NEED_AN_INSTANCE = ("back", "resurrect")


def befall(sim: Simulation, kind: str, details: Mapping[str, object]) -> dict[str, object]:
    """Let an incident happen now and tell what it struck; hold the lock.

    Raises ValueError for an unknown kind and LookupError when there is nothing it could strike.
    """
    if kind not in KINDS:
        raise ValueError(f"no incident {kind!r}; there are {', '.join(KINDS)}")
    sim.advance()
    if kind == "price_rise":
        factor = number(details.get("factor"))
        sim.market.estate.price_factor *= 1.5 if factor is None else factor
        return {"kind": kind, "price_factor": sim.market.estate.price_factor}
    if kind == "coordinator_restart":
        return {"kind": kind, "instances": _restart(sim)}
    named = details.get("instance")
    if kind in NEED_AN_INSTANCE and not isinstance(named, int):
        raise ValueError(f"{kind} needs an instance")
    contract = sim.choose(named if isinstance(named, int) else None)
    if kind == "coordinator_drop":
        return {"kind": kind, "instance": contract.id, "endpoint": _give_up(sim, contract, details)}
    _strike(sim, kind, contract, number(details.get("secs")))
    return {"kind": kind, "instance": contract.id}


def _strike(sim: Simulation, kind: str, contract: Contract, secs: float | None) -> None:
    market = sim.market
    if kind == "resurrect":
        market.resurrect(contract.id)
        return
    if not contract.live:
        raise LookupError(f"instance {contract.id} has ended")
    match kind:
        case "offline":
            market.host_away(contract.machine_id, secs)
        case "back":
            market.host_back(contract.machine_id)
        case "stop":
            market.stop(contract.id, why="Stopped by incident")
        case _:
            market.happen(kind, contract)


def _give_up(sim: Simulation, contract: Contract, details: Mapping[str, object]) -> str | None:
    endpoint = sim.hierophant.give_up(contract.id) or contract.drop_endpoint
    if contract.worker in RUNNABLE:
        contract.worker = Worker.DROPPED
    sim.market.changes += 1
    reason = details.get("reason")
    if endpoint is not None and sim.deliver_drop is not None:
        words = reason if isinstance(reason, str) else "Contemplant exceeded its strikes"
        sim.deliver_drop(contract.id, endpoint, words)
    return endpoint


def _restart(sim: Simulation) -> list[int]:
    forgotten = sim.hierophant.restart()
    for contract_id in forgotten:
        contract = sim.market.contracts[contract_id]
        if contract.worker in RUNNABLE:
            contract.worker = Worker.FORGOTTEN
    sim.market.changes += 1
    return forgotten
