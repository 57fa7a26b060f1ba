"""What can befall a box, a host, the coordinator or the market at the push of a button."""

from collections.abc import Mapping

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.runtime.simulation import RUNNABLE, Simulation
from magister.simulator.views.query import number

OF_A_BOX = (
    "exit",
    "unknown",
    "vanish",
    "console_delete",
    "worker_dies",
    "worker_exits",
    "offline",
    "back",
    "stop",
    "resurrect",
)
OF_THE_COORDINATOR = (
    "coordinator_restart",
    "coordinator_away",  # its HTTP side answers with `code`; 0 = closes at once, 200 = a page
    "coordinator_idle",  # it trims no dead workers
    "coordinator_back",  # from both
)
DROPS = ("coordinator_drop", "coordinator_drop_lost")
KINDS = (*OF_A_BOX, *OF_THE_COORDINATOR, *DROPS, "price_rise")
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
    if kind in OF_THE_COORDINATOR:
        return {"kind": kind, "instances": _coordinator(sim, kind, details)}
    named = details.get("instance")
    if kind in NEED_AN_INSTANCE and not isinstance(named, int):
        raise ValueError(f"{kind} needs an instance")
    contract = sim.choose(named if isinstance(named, int) else None)
    if kind in DROPS:
        heard = kind == "coordinator_drop"
        endpoint = _give_up(sim, contract, details, heard=heard)
        return {"kind": kind, "instance": contract.id, "endpoint": endpoint}
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
        case "worker_exits":
            market.happen("worker_dies", contract)
            sim.hierophant.forget(contract.id)
        case _:
            market.happen(kind, contract)


def _give_up(
    sim: Simulation, contract: Contract, details: Mapping[str, object], *, heard: bool
) -> str | None:
    """Let the coordinator give up on a worker; a DELETE that is not heard is lost on its way."""
    endpoint = sim.hierophant.give_up(contract.id) or contract.drop_endpoint
    if contract.worker in RUNNABLE:
        contract.worker = Worker.DROPPED
    sim.market.changes += 1
    reason = details.get("reason")
    if heard and endpoint is not None and sim.deliver_drop is not None:
        words = reason if isinstance(reason, str) else "Contemplant exceeded its strikes"
        sim.deliver_drop(contract.id, endpoint, words)
    return endpoint


def _coordinator(sim: Simulation, kind: str, details: Mapping[str, object]) -> list[int]:
    """Let something happen to the coordinator itself and give the contracts whose workers exit of it."""
    if kind == "coordinator_restart":
        return _restart(sim)
    if kind == "coordinator_idle":
        sim.hierophant.trims = False
    elif kind == "coordinator_away":
        code = details.get("code")
        sim.hierophant.away = code if isinstance(code, int) else 503
    else:
        sim.hierophant.away, sim.hierophant.trims = None, True
    return []


def _restart(sim: Simulation) -> list[int]:
    forgotten = sim.hierophant.restart()
    for contract_id in forgotten:
        contract = sim.market.contracts[contract_id]
        if contract.worker in RUNNABLE:
            contract.worker = Worker.FORGOTTEN
    sim.market.changes += 1
    return forgotten
