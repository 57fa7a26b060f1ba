"""The paged listing of instances: filters, order, cursors and counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from magister.simulator.market.clock import Calendar
from magister.simulator.market.contracts import FIRST_ACCOUNT
from magister.simulator.market.cursors import token_for, values_of
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.views.instance import instance_view
from magister.simulator.views.query import Order, compare_rows, filters_of, fits, in_order, number, parsed

MOST_ROWS = 25
DEFAULT_ROWS = 5
"""Without `limit` (newest documents; older text says 25) and for limits of 0 or less."""
FILTERABLE = frozenset(
    {"id", "label", "actual_status", "intended_status", "cur_state", "next_state", "gpu_name", "verification"}
    | {"machine_id", "host_id", "start_date", "end_date", "image_uuid", "template_id", "template_hash_id"}
    | {"is_bid", "disk_space"}
)
"""Columns stored on the contract; computed ones are refused with 400."""


@dataclass(frozen=True, slots=True)
class Page:
    """Hold what a listing was asked for."""

    limit: int
    after: Mapping[str, object] | None
    order: Order
    filters: Mapping[str, Mapping[str, object]]
    columns: tuple[str, ...]


def page_from(parameters: Mapping[str, str]) -> Page:
    """Read the query parameters of `GET /api/v1/instances/`; raises `Refused` with 400."""
    limit = number(parameters.get("limit"))
    after = parameters.get("after_token")
    filters = filters_of(parsed(parameters.get("select_filters"), {}))
    bad = filters.keys() - FILTERABLE
    if bad:
        raise Refused(
            400, "invalid_request", f"Error in query parameters: {min(bad)} is not a valid search key"
        )
    columns = parsed(parameters.get("select_cols"), ["*"])
    return Page(
        limit=DEFAULT_ROWS if limit is None or limit <= 0 else min(MOST_ROWS, int(limit)),
        after=values_of(after) if after else None,
        order=_order(parsed(parameters.get("order_by"), [])),
        filters=filters,
        columns=tuple(str(name) for name in columns) if isinstance(columns, list) else ("*",),
    )


def _order(value: object) -> Order:
    directives = value if isinstance(value, list) else []
    columns: list[tuple[str, bool]] = []
    for directive in directives:
        column = directive.get("col") if isinstance(directive, dict) else None
        if not isinstance(column, str) or column not in FILTERABLE:
            raise Refused(400, "invalid_request", f"Error in query parameters: cannot order by {column}")
        columns.append((column, directive.get("dir") == "desc"))
    if "id" not in [column for column, _ in columns]:
        columns.append(("id", False))
    return tuple(columns)


def listing(
    market: Market, page: Page, calendar: Calendar, *, account: int = FIRST_ACCOUNT
) -> dict[str, object]:
    """Answer `GET /api/v1/instances/`."""
    rows = [instance_view(market, contract, calendar) for contract in market.listed(account)]
    rows = in_order([row for row in rows if fits(row, page.filters)], page.order)
    total, labels = len(rows), Counter(str(row["label"] or "") for row in rows)
    if page.after is not None:
        rows = [row for row in rows if compare_rows(row, page.after, page.order) > 0]
    shown, more = rows[: page.limit], len(rows) > page.limit
    token = token_for({column: shown[-1][column] for column, _ in page.order}) if more else None
    return {
        "success": True,
        "instances_found": len(shown),
        "total_instances": total,
        "label_counts": dict(labels),
        "instances": [_selected(row, page.columns) for row in shown],
        "next_token": token,
    }


def _selected(row: dict[str, object], columns: tuple[str, ...]) -> dict[str, object]:
    return row if "*" in columns else {name: row.get(name) for name in columns}
