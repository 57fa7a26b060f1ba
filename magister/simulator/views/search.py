"""Answers to a search for offers, in Vast's query grammar."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from magister.simulator.market.clock import Calendar
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.views.offer import country_of, driver_number, offer_view
from magister.simulator.views.query import Filters, Order, filters_of, fits, in_order, number

MOST_ROWS = 64
"""Seen in practice: no search returns more, whatever `limit` says."""
DEFAULT_STORAGE = 8.0
KINDS = {"on-demand": False, "ondemand": False, "reserved": False, "bid": True, "interruptible": True}
DEFAULTS: Mapping[str, Mapping[str, object]] = {"verified": {"eq": True}, "rentable": {"eq": True}}
ALIASES = {
    "reliability2": "reliability",
    "dphtotal": "dph_total",
    "gpu_totalram": "gpu_total_ram",
    "ubuntu_version": "os_version",
    "datacenter": "hosting_type",
}
IGNORED = frozenset(
    {"order", "limit", "type", "allocated_storage", "target_reliability", "disable_bundling", "rented"}
)
"""Keys that are no conditions. `rented` is one for the client, but Vast's server is documented to drop it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold a search that has been read; `storage` in GB."""

    filters: Filters
    order: Order
    limit: int
    storage: float
    bid: bool
    reliability: float = 0.0
    defaults: Filters = field(default_factory=dict)


def wanted_from(query: object) -> Wanted:
    """Read a query object; raises `Refused` with 400 `invalid_request`."""
    if not isinstance(query, dict):
        raise Refused(400, "invalid_request", "Invalid query: must be dict of conditions")
    kind = query.get("type") or "on-demand"
    if kind not in KINDS:
        raise Refused(400, "invalid_request", f"Error in query parameters: invalid type {kind}")
    given = filters_of(
        {name: value for name, value in query.items() if name not in IGNORED and value is not None}
    )
    limit = number(query.get("limit"))
    storage = number(query.get("allocated_storage"))
    return Wanted(
        filters={ALIASES.get(name, name): condition for name, condition in given.items()},
        order=_order(query.get("order")),
        limit=MOST_ROWS if limit is None else max(0, min(MOST_ROWS, int(limit))),
        storage=DEFAULT_STORAGE if storage is None else storage,
        bid=KINDS[str(kind)],
        reliability=number(query.get("target_reliability")) or 0.0,
        defaults={name: condition for name, condition in DEFAULTS.items() if name not in given},
    )


def _order(value: object) -> Order:
    pairs = value if isinstance(value, list) and value else [["score", "desc"]]
    columns: list[tuple[str, bool]] = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise Refused(
                400, "invalid_request", "Error in query parameters: order must be [[field, direction]]"
            )
        columns.append((ALIASES.get(pair[0], pair[0]), pair[1] == "desc"))
    return (*columns, ("ask_contract_id", False))


def search(
    market: Market, query: object, calendar: Calendar, *, rows_left: int | None = None
) -> dict[str, object]:
    """Answer a search; `rows_left` caps the rows further.

    Raises `Refused` for a query Vast would not take.
    """
    wanted = wanted_from(query)
    filters = {**wanted.defaults, **wanted.filters}
    found = [view for view in _views(market, wanted, calendar) if _suits(view, filters, wanted)]
    most = wanted.limit if rows_left is None else min(wanted.limit, rows_left)
    rows = in_order(found, wanted.order)[:most]
    return {"offers": rows, "truncated": len(found) > len(rows)}


def _views(market: Market, wanted: Wanted, calendar: Calendar) -> list[dict[str, object]]:
    renting = {contract.machine_id for contract in market.live() if contract.holds_gpus}
    return [
        offer_view(
            offer_id,
            machine,
            chunk.gpus,
            hourly=market.estate.hourly(machine, chunk),
            disk=wanted.storage,
            ends_at=market.ends_at(machine),
            now=market.now,
            calendar=calendar,
            rented=machine.id in renting,
            bid=wanted.bid,
        )
        for offer_id, machine, chunk in market.estate.available()
        if market.offered(machine)
        and machine.disk >= wanted.storage
        and machine.reliability >= wanted.reliability
    ]


def _suits(view: dict[str, object], filters: Filters, wanted: Wanted) -> bool:
    """Apply the conditions to Vast's virtual fields.

    A condition on `id` matches nothing, as users have found.
    """
    place = view["geolocation"]
    virtual: dict[str, object] = {
        **view,
        "id": None,
        "verified": view["verification"] == "verified",
        "geolocation": country_of(place if isinstance(place, str) else None),
        "external": bool(view["external"]),
        "driver_version": view["driver_vers"],
    }
    unknown = filters.keys() - virtual.keys() - {"bundled_results"}
    if unknown:
        raise Refused(
            400, "invalid_request", f"Error in query parameters: {min(unknown)} is not a valid search key"
        )
    return fits(virtual, {name: _drivers(name, condition) for name, condition in filters.items()})


def _drivers(name: str, condition: Mapping[str, object]) -> Mapping[str, object]:
    if name != "driver_version":
        return condition
    return {operator: _driver(value) for operator, value in condition.items()}


def _driver(value: object) -> object:
    if not isinstance(value, str) or value.count(".") != 2:
        return value
    try:
        return driver_number(value)
    except ValueError:
        return value
