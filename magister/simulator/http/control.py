"""The control API under `/sim/`: look at the simulation, set faults, let incidents happen.

It needs no key, is not limited and not written down; it exists on loopback only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from flask import Blueprint, Response, request

from magister.simulator.market import billing
from magister.simulator.market.contracts import Contract
from magister.simulator.runtime.coordinator import json_response
from magister.simulator.runtime.faults import fault_from
from magister.simulator.runtime.incidents import befall
from magister.simulator.runtime.simulation import Simulation
from magister.simulator.views.query import number


def blueprint(sim: Simulation) -> Blueprint:
    """Build the control API of a simulation."""
    control = Blueprint("control", __name__, url_prefix="/sim")
    _add_views(control, sim)
    _add_levers(control, sim)
    return control


def _add_views(control: Blueprint, sim: Simulation) -> None:
    @control.get("/state")
    def state() -> Response:
        with sim.lock:
            return json_response(state_of(sim))

    @control.get("/requests")
    def requests() -> Response:
        with sim.lock:
            last = request.args.get("last", 500, int)
            route = request.args.get("route")
            entries = [asdict(entry) for entry in sim.journal.entries if route in (None, entry.route)]
            return json_response({"requests": entries[-last:]})

    @control.get("/faults")
    def faults() -> Response:
        with sim.lock:
            return json_response({"faults": sim.faults.active(sim.clock())})

    @control.get("/held")
    def held() -> Response:
        return json_response({"held": sim.pen.held(request.args.get("wait", 0.0, float))})


def _add_levers(control: Blueprint, sim: Simulation) -> None:
    @control.post("/faults")
    def change_faults() -> Response:
        return _change_faults(sim, _body())

    @control.post("/release")
    def release() -> Response:
        chosen, cut = _body().get("id"), _body().get("cut") is True
        return json_response(
            {"released": sim.pen.release(chosen if isinstance(chosen, int) else None, cut=cut)}
        )

    @control.post("/incidents")
    def incidents() -> Response:
        return _incident(sim, _body())

    @control.post("/credit")
    def credit() -> Response:
        return _credit(sim, _body())

    @control.post("/stop")
    def stop() -> Response:
        if sim.stop is not None:
            sim.stop()
        return json_response({"stopping": sim.stop is not None})


def _body() -> Mapping[str, object]:
    body: object = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _wrong(error: Exception, status: int) -> Response:
    return json_response({"error": str(error)}, status)


def _change_faults(sim: Simulation, body: Mapping[str, object]) -> Response:
    clear, new = body.get("clear"), body.get("set")
    try:
        faults = [fault_from(value) for value in (new if isinstance(new, list) else [])]
    except (TypeError, ValueError) as error:
        return _wrong(error, 400)
    with sim.lock:
        if clear is True:
            sim.faults.clear()
        for name in clear if isinstance(clear, list) else []:
            sim.faults.clear(str(name))
        now = sim.advance()
        for fault in faults:
            sim.faults.set(fault, now)
        return json_response({"faults": sim.faults.active(now)})


def _incident(sim: Simulation, body: Mapping[str, object]) -> Response:
    try:
        with sim.lock:
            return json_response(befall(sim, str(body.get("kind")), body))
    except LookupError as error:
        return _wrong(error, 409)
    except ValueError as error:
        return _wrong(error, 400)


def _credit(sim: Simulation, body: Mapping[str, object]) -> Response:
    exact, more = number(body.get("credit")), number(body.get("add"))
    if exact is None and more is None:
        return json_response({"error": "give credit or add, in dollars"}, 400)
    with sim.lock:
        sim.advance()
        sim.market.credit = (sim.market.credit if exact is None else exact) + (more or 0.0)
        sim.market.changes += 1
        sim.market.settle()
        return json_response({"credit": sim.market.credit})


def state_of(sim: Simulation) -> dict[str, object]:
    """Give the whole state as the tests and the demo read it; hold the lock."""
    now = sim.advance()
    market = sim.market
    contracts = list(market.contracts.values())
    live = market.live()
    return {
        "now": now,
        "date": sim.calendar.told(now),
        "speed": sim.calendar.speed,
        "credit": market.credit,
        "spent": sum(map(billing.spent, contracts)),
        "live": len(live),
        "most_live": market.most_live,
        "doubled_labels": _doubled(contracts),
        "doubled_live_labels": _doubled(live),
        "offers": len(market.estate.available()),
        "contracts": [_contract(sim, contract) for contract in contracts],
        "requests": dict(sim.journal.routes),
        "statuses": {str(status): times for status, times in sim.journal.statuses.items()},
        "throttled": sim.rates.refused,
        "faults": sim.faults.active(now),
        "held": sim.pen.held(),
        "drops": sim.drops,
    }


def _doubled(contracts: Iterable[Contract]) -> list[str]:
    labels = Counter(contract.label for contract in contracts if contract.label is not None)
    return [label for label, times in labels.items() if times > 1]


def _contract(sim: Simulation, contract: Contract) -> dict[str, object]:
    machine = sim.market.estate.under(contract)
    return {
        "id": contract.id,
        "label": contract.label,
        "offer_id": contract.offer_id,
        "machine_id": contract.machine_id,
        "host_id": machine.host_id,
        "dud": machine.dud,
        "live": contract.live,
        "actual_status": sim.market.actual_status(contract),
        "intended_status": contract.intended,
        "created_at": contract.created_at,
        "created_date": sim.calendar.told(contract.created_at),
        "ended_at": contract.ended_at,
        "ended_by": contract.ended_by,
        "worker": str(contract.worker),
        "verified_at": contract.verified_at,
        "drop_endpoint": contract.drop_endpoint,
        "exported": contract.exported,
        "spent": billing.spent(contract),
    }
