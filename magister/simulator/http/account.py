"""What the routes about the account do: its money and its templates."""

import json

from magister.simulator.http.calls import Call
from magister.simulator.market import billing
from magister.simulator.runtime.replies import Reply, reply
from magister.simulator.runtime.simulation import Simulation
from magister.simulator.views.query import filters_of, fits, number, parsed


def user(sim: Simulation, call: Call) -> Reply:
    """Give the account: `credit` is what can be spent, `balance` is not."""
    return reply(
        {
            "id": call.account,
            "key_id": 1,
            "email": "operator@example.org",
            "username": "operator",
            "credit": round(sim.market.credit, 6),
            "balance": 0.0,
            "balance_threshold": 0.0,
            "balance_threshold_enabled": False,
            "has_billing": True,
            "host_agreement_accepted": False,
            "host_only": False,
            "ssh_key": None,
            "sid": "",
            "api_key": sim.api_key,
        }
    )


def spend_rate(sim: Simulation, call: Call) -> Reply:
    """Give the dollars per hour of all boxes."""
    live = [box for box in sim.market.live() if box.account == call.account]
    return reply(billing.spend_rate(box for box in live if not sim.market.estate.under(box).offline))


def charges(sim: Simulation, call: Call) -> Reply:
    """Give what boxes cost, also those that are gone."""
    parameters, lag = call.parameters, sim.market.plan.charges_lag_secs
    answer = billing.charges(
        [box for box in sim.market.contracts.values() if box.account == call.account],
        parsed(parameters.get("select_filters"), {}),
        limit=int(number(parameters.get("limit")) or 0),
        after=parameters.get("after_token") or None,
        latest_first=parameters.get("latest_first", "true").lower() not in ("false", "0"),
        calendar=sim.calendar,
        shown_until=sim.market.now - lag if lag else None,
    )
    return reply(answer)


def templates(sim: Simulation, call: Call) -> Reply:
    """Give the templates that fit a filter; with any hash known, the one asked for exists."""
    filters = filters_of(parsed(call.parameters.get("select_filters"), {}))
    known = sim.market.plan.templates
    wanted = filters.get("hash_id", {}).get("eq")
    if not known and isinstance(wanted, str):
        known = (wanted,)
    rows = [row for row in map(_template, range(len(known)), known) if fits(row, filters)]
    if not rows:
        return reply({"success": False, "msg": "No templates found"})
    return reply({"success": True, "templates_found": len(rows), "templates": rows})


def _template(index: int, hash_id: str) -> dict[str, object]:
    return {
        "id": index + 1,
        "hash_id": hash_id,
        "name": "contemplant",
        "image": "unattendedbackpack/contemplant",
        "tag": "latest",
        "default_tag": "latest",
        "creator_id": 4242,
        "created_at": 1_764_000_000.0,
        "count_created": 7,
        "recent_create_date": 1_764_000_000.0,
        "recommended": False,
        "recommended_disk_space": 16.0,
        "docker_login_repo": None,
        "use_ssh": True,
        "ssh_direct": True,
        "jup_direct": False,
        "runtype": "ssh",
        "private": True,
        "env": "",
        "onstart": "",
        "extra_filters": json.dumps({}),
    }
