"""The simulation on disk: saved as JSON, and found again at the next start."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.market.machines import Machine
from magister.simulator.market.market import Market
from magister.simulator.runtime.coordinator import Hierophant, Listed
from magister.simulator.runtime.simulation import Simulation

VERSION = 1
T = TypeVar("T")


def save(sim: Simulation, path: Path) -> None:
    """Write the simulation to a file as a whole or not at all; hold the lock."""
    market, version, state, gauss = sim.market, *sim.market.rng.getstate()
    blob = {
        "version": VERSION,
        "now": market.now,
        "born": market.born,
        "credit": market.credit,
        "price_factor": market.estate.price_factor,
        "most_live": market.most_live,
        "agenda": market.agenda,
        "sequence": market.sequence,
        "next_contract": market.next_contract,
        "next_drift": market.next_drift,
        "random": [version, list(state), gauss],
        "machines": [asdict(machine) for machine in market.estate.machines.values()],
        "offers": market.estate.book.saved(),
        "contracts": [asdict(contract) for contract in market.contracts.values()],
        "hierophant": sim.hierophant.saved(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(blob, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: Path, plan: MarketPlan) -> tuple[Market, Hierophant] | None:
    """Read a saved simulation; None when there is no file; raises ValueError when it cannot be read.

    Machines, offers and boxes are those of the file, whatever the plan says; how they behave from now on is
    the plan's. A worker whose call to `/verify` was under way starts anew.
    """
    if not path.exists():
        return None
    try:
        blob: dict[str, Any] = json.loads(path.read_text())
        return _market(blob, plan), _hierophant(blob["hierophant"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no state of this simulator ({error}); move it away to start anew"
        ) from error


def _market(blob: dict[str, Any], plan: MarketPlan) -> Market:
    if blob["version"] != VERSION:
        raise ValueError(f"version {blob['version']}")
    market = Market(plan, blob["born"])
    for name in ("now", "credit", "most_live", "sequence", "next_contract", "next_drift"):
        setattr(market, name, blob[name])
    market.agenda = [tuple(entry) for entry in blob["agenda"]]
    version, state, gauss = blob["random"]
    market.rng.setstate((version, tuple(state), gauss))
    estate = market.estate
    estate.price_factor = blob["price_factor"]
    estate.machines = {machine.id: machine for machine in _each(Machine, blob["machines"])}
    for machine in estate.machines.values():
        machine.taken = {int(index): contract for index, contract in machine.taken.items()}
    book = blob["offers"]
    estate.book.restore(book["ever"], book["current"], book["used"], book["next"])
    market.contracts = {contract.id: contract for contract in _each(Contract, blob["contracts"])}
    for contract in market.contracts.values():
        contract.worker = Worker(contract.worker)
        if contract.worker is Worker.STARTING:
            contract.worker, contract.worker_due = Worker.WAITING, market.now
    return market


def _hierophant(blob: dict[str, Any]) -> Hierophant:
    hierophant = Hierophant()
    hierophant.restore(_each(Listed, blob["alive"]), _each(Listed, blob["dead"]))
    return hierophant


def _each(make: Callable[..., T], rows: list[dict[str, Any]]) -> list[T]:
    return [make(**row) for row in rows]
