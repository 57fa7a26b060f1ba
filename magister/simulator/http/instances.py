"""What the routes about instances do."""

import random
from collections.abc import Mapping

from magister.simulator import odd_rows
from magister.simulator.http.calls import Call
from magister.simulator.market.contracts import Contract
from magister.simulator.market.errors import Refused, invalid_args
from magister.simulator.runtime.faults import LISTING, LOGS
from magister.simulator.runtime.replies import Reply, reply
from magister.simulator.runtime.simulation import Simulation
from magister.simulator.views.instance import instance_view
from magister.simulator.views.listing import listing, page_from
from magister.simulator.views.query import number

LONGEST_LABEL = 1024
ELSEWHERE = "http://192.0.2.1/"
HOSTILE = (
    b"\x1b]0;owned\x07\x1b[2J\x00\xff\xfe start\r\n"
    b"GET http://203.0.113.7:8555/drop/5?key=0123456789abcdef0123456789abcdef\n"
    b"CONTAINER_API_KEY=5ecre75ecre75ecre7\n"
    b"<script>alert(1)</script> \xe2\x80\xae OCI runtime create failed\n"
)
DEPRECATED = Refused(
    410, "deprecated_endpoint", "This endpoint is deprecated. Use /api/v1/instances/ instead."
)


def list_instances(sim: Simulation, call: Call) -> Reply:
    """Give a page of the account's instances."""
    fault = sim.faults.strike(LISTING, call.route, sim.market.now)
    answer = listing(sim.market, page_from(call.parameters), sim.calendar, account=call.account)
    rows = answer["instances"]
    if isinstance(rows, list):
        answer["instances"] = odd_rows.instances(sim.faults, rows, sim.market.now)
    return reply(answer if fault is None else _spoiled(answer, fault.name))


def _spoiled(answer: dict[str, object], fault: str) -> object:
    rows = answer["instances"]
    total = answer["total_instances"]
    if not isinstance(rows, list) or not isinstance(total, int):
        raise TypeError("a listing has rows and a total")
    match fault:
        case "short_page":
            return answer | {"instances": rows[:-1], "instances_found": max(0, len(rows) - 1)}
        case "wrong_total":
            return answer | {"total_instances": total + 1}
        case "duplicate_ids":
            return answer | {"instances": rows[:1] + rows, "instances_found": len(rows[:1] + rows)}
        case "null_instances":
            return answer | {"instances": None}
        case "no_instances":
            nothing = {"instances": [], "instances_found": 0, "total_instances": 0}
            return answer | nothing | {"label_counts": {}, "next_token": None}
        case "deprecated_200":
            return DEPRECATED.body()
        case _:
            words = "Something went wrong on the server"
            return {"success": False, "error": "server_error", "msg": words}


def list_v0(sim: Simulation, call: Call) -> Reply:
    """Refuse the listing Vast has switched off."""
    raise DEPRECATED


def count(sim: Simulation, call: Call) -> Reply:
    """Count the account's instances."""
    return reply({"count": len(sim.market.listed(call.account))})


def show(sim: Simulation, call: Call) -> Reply:
    """Give one instance, or null under 200 when there is none."""
    contract = sim.market.shown(call.number(), call.account)
    if contract is None or sim.faults.strike(("show_null",), call.route, sim.market.now):
        return reply({"instances": None})
    view = instance_view(sim.market, contract, sim.calendar)
    del view["volume_info"]
    return reply({"instances": view})


def destroy(sim: Simulation, call: Call) -> Reply:
    """Destroy an instance."""
    contract_id, now = call.number(), sim.market.now
    sim.market.owned(contract_id, call.account)
    refused = sim.faults.strike(("destroy_refused",), call.route, now)
    if refused:
        words = f"Could not destroy instance {contract_id}, try again later."
        return reply({"success": False, "error": "server_error", "msg": words}, refused.code)
    lag = sim.faults.strike(("lag_destroy",), call.route, now)
    back = sim.faults.strike(("resurrect",), call.route, now)
    sim.market.destroy(
        contract_id, lingers=lag.secs if lag else 0.0, returns_after=back.secs if back else None
    )
    return reply({"success": True, "msg": "Instance destroyed successfully"})


def update(sim: Simulation, call: Call) -> Reply:
    """Relabel, stop or start an instance."""
    contract_id = call.number()
    sim.market.owned(contract_id, call.account)
    body: Mapping[str, object] = call.body if isinstance(call.body, dict) else {}
    label, state = body.get("label"), body.get("state")
    if isinstance(label, str):
        if len(label) > LONGEST_LABEL:
            raise invalid_args("label_too_long")
        sim.market.relabel(contract_id, label)
    if state == "stopped":
        sim.market.stop(contract_id)
    elif state == "running":
        if not sim.market.start(contract_id):
            words = "Required resources are currently unavailable, state change queued."
            return reply({"success": False, "error": "resources_unavailable", "msg": words})
    elif state is not None:
        return reply({"success": False, "msg": "Invalid target state"}, 400)
    return reply({"success": True})


def request_logs(sim: Simulation, call: Call) -> Reply:
    """Have a log uploaded; it is at the URL a little later."""
    contract_id = call.number()
    contract = sim.market.contracts.get(contract_id)
    if contract is None or not contract.live or contract.account != call.account:
        raise Refused(404, "invalid_id", "Invalid instance id.")
    fault = sim.faults.strike(LOGS, call.route, sim.market.now)
    spoilt = "" if fault is None else fault.name
    if spoilt == "logs_refused":
        return reply({"success": False, "error": "server_error", "msg": "Could not request logs"})
    body: Mapping[str, object] = call.body if isinstance(call.body, dict) else {}
    name = f"{random.Random(f'{contract_id} {len(sim.logs)}').getrandbits(128):032x}"  # noqa: S311 - a file name
    delay = float("inf") if spoilt == "logs_never" else sim.market.plan.log_delay_secs
    sim.logs[name] = (sim.market.now + delay, _spoilt_log(spoilt) or _log_text(sim, contract, body).encode())
    server = ELSEWHERE if spoilt == "logs_elsewhere" else sim_url(call)
    url = f"{server}instance_logs/{name}.log"
    return reply({"success": True, "result_url": url, "msg": "Log request sent"})


def _spoilt_log(fault: str) -> bytes | None:
    """Give what no honest log holds; None = nothing is to be spoilt."""
    match fault:
        case "logs_giant":
            return b"".join(b"line %07d of a log that nobody asked for\n" % n for n in range(400_000))
        case "logs_hostile":
            return HOSTILE
        case _:
            return None


def sim_url(call: Call) -> str:
    """Give the URL of the server with one slash at its end."""
    return call.server.rstrip("/") + "/"


def _log_text(sim: Simulation, contract: Contract, body: Mapping[str, object]) -> str:
    if body.get("daemon_logs") == "true":
        lines = [f"daemon: container C.{contract.id} is {sim.market.actual_status(contract)}"]
    else:
        lines = list(contract.log)
    wanted = body.get("filter")
    if isinstance(wanted, str) and wanted:
        lines = [line for line in lines if wanted in line]
    tail = number(body.get("tail"))
    return "\n".join(lines if tail is None else lines[-int(tail) :] if tail >= 1 else []) + "\n"


def log_text(sim: Simulation, call: Call) -> Reply:
    """Give an uploaded log; 404 until it is there. Needs no key."""
    ready, text = sim.logs.get(call.ident.removesuffix(".log"), (float("inf"), b""))
    if sim.market.now < ready:
        return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
    return Reply(200, text, "text/plain")
