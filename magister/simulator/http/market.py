"""What the routes that search and rent do."""

from magister.simulator import odd_rows
from magister.simulator.http.calls import Call
from magister.simulator.market.errors import Refused, no_such_ask
from magister.simulator.runtime.replies import Reply, reply
from magister.simulator.runtime.simulation import Simulation
from magister.simulator.views.order import order_from
from magister.simulator.views.query import parsed
from magister.simulator.views.search import IGNORED
from magister.simulator.views.search import search as search_offers


def search(sim: Simulation, call: Call) -> Reply:
    """Answer a search sent as a flat object, as `q` inside one, or as the parameter `q`."""
    query = parsed(call.parameters["q"]) if "q" in call.parameters else call.body
    if isinstance(query, dict) and isinstance(query.get("q"), dict):
        query = query["q"]
    if query is None:
        raise Refused(400, "invalid_request", "Invalid json body")
    rates, now = sim.rates, sim.market.now
    left = rates.rows_left(now)
    if left == 0:
        return rates.exhausted(now, sim.calendar.speed, sim.calendar.told(now))
    answer = search_offers(sim.market, _unfiltered(sim, query), sim.calendar, rows_left=left)
    if sim.faults.strike(("empty_market",), call.route, now):
        answer = {"offers": [], "truncated": False}
    offers = answer["offers"]
    if isinstance(offers, list):
        offers = answer["offers"] = odd_rows.offers(sim.faults, offers, now)
    rates.count_rows(len(offers) if isinstance(offers, list) else 0)
    return reply(answer)


def _unfiltered(sim: Simulation, query: object) -> object:
    """Take the conditions out of a query that a fault lets Vast ignore."""
    fault = sim.faults.strike(("filter_ignored",), "search", sim.market.now)
    if fault is None or not isinstance(query, dict):
        return query
    ignored = query.keys() - IGNORED if fault.field is None else {fault.field}
    anything = {name: {"in": [True, False]} for name in ("verified", "rentable") if name in ignored}
    return {name: value for name, value in query.items() if name not in ignored} | anything


def create(sim: Simulation, call: Call) -> Reply:
    """Rent an offer."""
    market, now = sim.market, sim.market.now
    offer_id = call.number()
    order = order_from(call.body, market.plan)
    if sim.faults.strike(("no_credit",), call.route, now):
        words = "Your account lacks credit; see the billing page."
        raise Refused(market.plan.insufficient_credit_status, "insufficient_credit", words)
    if sim.faults.strike(("offer_gone",), call.route, now):
        raise no_such_ask(offer_id, existed=True)
    lag = sim.faults.strike(("lag_create",), call.route, now)
    stopped = sim.faults.strike(("stopped_box",), call.route, now)
    hidden = lag.secs if lag else 0.0
    contract, started = market.rent(
        offer_id, order, listed_after=hidden, stopped=stopped is not None, account=call.account
    )
    answer = {"success": started, "new_contract": contract.id, "instance_api_key": contract.api_key}
    if sim.faults.strike(("no_contract",), call.route, now):
        answer = {"success": True}
    return reply(answer)


def gpu_names(sim: Simulation, call: Call) -> Reply:
    """Give the models there are."""
    return reply({"gpu_names": sorted({machine.gpu_name for machine in sim.market.estate.machines.values()})})
