"""The market over HTTP, in Vast's own paths and shapes."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from magister.simulator.http import control
from magister.simulator.http.calls import Call, Effect
from magister.simulator.http.routes import PUBLIC, ROUTES
from magister.simulator.market.clock import Calendar
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.runtime.faults import TRANSPORT, Fault
from magister.simulator.runtime.rate_limits import Rates
from magister.simulator.runtime.replies import Cut, Reply, reply
from magister.simulator.runtime.simulation import DEFAULT_KEY, Simulation

log = logging.getLogger(__name__)

BAD_KEY = Refused(404, "auth_error", "Invalid user key")
NO_KEY = Refused(403, "auth_error", "This action requires login.")
HTML = b"<html><head><title>Attention</title></head><body><center><h1>Bad gateway</h1></center></body></html>"
WORDS = {
    408: "request_timeout",
    409: "conflict",
    425: "too_early",
    500: "server_error Something went wrong on the server",
}


def create_app(
    market: Market,
    *,
    clock: Callable[[], float],
    api_key: str = DEFAULT_KEY,
    any_key: bool = False,
    rates: Rates | None = None,
    calendar: Calendar | None = None,
) -> Flask:
    """Build the app around a market, with simulated time taken from `clock` and no workers.

    For tests under a virtual clock. The `Simulation` is at `app.extensions["simulation"]`.
    """
    simulation = Simulation(
        market=market,
        clock=clock,
        api_key=api_key,
        any_key=any_key,
        rates=rates or Rates(),
        calendar=calendar or Calendar(),
    )
    return app_for(simulation)


def app_for(sim: Simulation) -> Flask:
    """Build the app of a simulation: Vast's routes and the control API under `/sim/`."""
    app = Flask("magister.simulator", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # a cut is the server's to see
    app.extensions["simulation"] = sim
    for method, path, route, effect in ROUTES:
        view = _view(sim, method, route, effect)
        app.add_url_rule(path, f"{method} {route}", view, methods=[method], strict_slashes=False)
    app.register_blueprint(control.blueprint(sim))

    @app.errorhandler(HTTPException)
    def astray(error: HTTPException) -> Response:
        log.info("no such route: %s %s", request.method, request.path)
        return _response(
            reply({"success": False, "error": "not_found", "msg": error.description}, error.code or 500)
        )

    return app


def _response(answer: Reply) -> Response:
    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    response.headers.extend(answer.headers)
    return response


def _view(sim: Simulation, method: str, route: str, effect: Effect) -> Callable[..., Response]:
    def view(ident: str = "") -> Response:
        call = Call(
            route=route,
            method=method,
            path=request.path,
            ident=ident,
            parameters=request.args.to_dict(),
            body=request.get_json(force=True, silent=True),
            server=request.host_url,
        )
        return _response(answer(sim, call, effect, request.headers.get("Authorization")))

    return view


def answer(sim: Simulation, call: Call, effect: Effect, authorization: str | None) -> Reply:
    """Answer one call: key, limits, faults, effect, in this order; write it down.

    Raises `Cut` to close without an answer.
    """
    with sim.lock:
        now = sim.advance()
        fault = sim.faults.strike(TRANSPORT, call.route, now)
    status = 0
    try:
        given = _answer(sim, call, effect, authorization, fault)
        status = given.status
        return given
    finally:
        with sim.lock:
            sim.journal.write(
                route=call.route,
                method=call.method,
                path=call.path,
                parameters=call.parameters,
                body=call.body,
                status=status,
                at=now,
                real=time.time(),
                fault=fault.name if fault else None,
            )


def _answer(
    sim: Simulation, call: Call, effect: Effect, authorization: str | None, fault: Fault | None
) -> Reply:
    early = _before(sim, call, fault) if fault is not None and fault.when == "before" else None
    if early is not None:
        return early
    with sim.lock:
        now = sim.advance()
        try:
            call = replace(call, account=_admitted(sim, call, authorization))
            given = sim.rates.check(call.route, now, sim.calendar.speed) or effect(sim, call)
        except Refused as error:
            given = _refusal(error)
    return given if fault is None or fault.when == "before" else _after(sim, call, fault, given)


def _admitted(sim: Simulation, call: Call, authorization: str | None) -> int:
    """Give the account of the key that a call bears; raises `Refused` for a bad one."""
    given = call.parameters.get("api_key") if authorization is None else authorization.removeprefix("Bearer ")
    if call.route == "log_text":
        given = None
    elif given is None and call.route not in PUBLIC:
        raise NO_KEY
    account = sim.account(given)
    if account is None:
        raise BAD_KEY
    return account


def _before(sim: Simulation, call: Call, fault: Fault) -> Reply | None:
    """Let a fault strike before the effect; None means that the call goes on all the same."""
    match fault.name:
        case "hang":
            sim.pen.pause(fault.secs)
            raise Cut
        case "slow":
            sim.pen.pause(fault.secs)
            return None
        case "hold":
            _hold(sim, call, "before")
            return None
        case _:
            return _instead(sim, call, fault, reply({"success": True}))


def _after(sim: Simulation, call: Call, fault: Fault, given: Reply) -> Reply:
    """Let a fault strike when the effect is done and only the answer is left."""
    match fault.name:
        case "hang" | "slow":
            sim.pen.pause(fault.secs)
            return given
        case "hold":
            _hold(sim, call, "after")
            return given
        case _:
            return _instead(sim, call, fault, given)


def _hold(sim: Simulation, call: Call, when: str) -> None:
    if not sim.pen.hold(call.route, when, call.path):
        raise Cut


def _instead(sim: Simulation, call: Call, fault: Fault, given: Reply) -> Reply:
    """Answer as a fault has it, in the place of what would be `given`."""
    match fault.name:
        case "reset":
            raise Cut
        case "throttle":
            with sim.lock:
                return sim.rates.throttled(call.route, fault.secs, always_tell=fault.secs > 0)
        case "bad_key":
            return _refusal(BAD_KEY)
        case "outage" if fault.code == 0:
            raise Cut
        case "status" | "outage":
            return _failure(fault.code)
        case _:
            return _unreadable(fault.name, given)


def _refusal(error: Refused) -> Reply:
    return reply(error.body(), error.status)


def _failure(code: int) -> Reply:
    if code in (502, 503, 504):
        return Reply(code, HTML, "text/html")
    words = WORDS.get(code, "error")
    return reply({"success": False, "error": words.split()[0], "msg": words}, code)


def _unreadable(name: str, given: Reply) -> Reply:
    match name:
        case "html":
            return Reply(200, HTML, "text/html")
        case "empty":
            return Reply(200, b"")
        case "plain_text":
            return Reply(200, b"ok", "text/plain")
        case _:
            return Reply(given.status, given.body[: max(1, len(given.body) // 2)], given.content_type)
