"""What was spent, over HTTP: JSON, or CSV for whoever asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from magister.reports import statements
from magister.reports.statements import Wish
from magister.store.accounting import invoice
from magister.web.api import shown
from magister.web.transactions import Store

CSV = "text/csv"
JSON = "application/json"

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Costs:
    """Hold what the views need."""

    store: Store

    def cost(self) -> Response:
        """Show what was spent."""
        given, now = parameters("from", "to", "by", "format"), self.store.clock()
        asked, as_csv = wish(given, now), wants_csv(given.get("format"))
        told = self.store.read(lambda session: statements.statement(session, asked, now))
        return told_as(as_csv, statements.jsonable, statements.as_csv, told)

    def bill(self) -> Response:
        """Hold the estimate against what Vast charged."""
        given, now = parameters("from", "to", "format"), self.store.clock()
        asked, as_csv = wish(given, now), wants_csv(given.get("format"))
        told = self.store.read(lambda session: invoice.reconcile(session, asked.first, asked.last, now))
        return told_as(as_csv, statements.bill_jsonable, statements.bill_as_csv, told)


def blueprint(costs: Costs) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("costs", __name__)
    routes.add_url_rule("/cost", view_func=costs.cost, methods=["GET"])
    routes.add_url_rule("/bill", view_func=costs.bill, methods=["GET"])
    return routes


def wish(given: Mapping[str, str], now: datetime) -> Wish:
    """Return what is asked for; raises BadRequest that says what would be right."""
    try:
        return statements.wish(now, first=given.get("from"), last=given.get("to"), by=given.get("by"))
    except ValueError as error:
        raise BadRequest(str(error)) from None


def told_as(
    as_csv: bool, to_json: Callable[[Told], dict[str, object]], to_csv: Callable[[Told], str], told: Told
) -> Response:
    """Return what is told in the form that is wanted."""
    answer = shown(to_json(told))
    if as_csv:
        answer = Response(to_csv(told), content_type=f"{CSV}; charset=utf-8")
    answer.vary.add("Accept")
    return answer


def parameters(*names: str) -> Mapping[str, str]:
    """Return the query, each name once; raises BadRequest for one that is unknown or given twice."""
    given = request.args
    for name in given:
        if name not in names:
            raise BadRequest(f"there is no parameter {name!r}; there are {', '.join(names)}")
        if len(given.getlist(name)) > 1:
            raise BadRequest(f"{name} is given more than once")
    return given.to_dict()


def wants_csv(said: str | None) -> bool:
    """Say whether CSV is wanted: `format` wins over the Accept header. Raises BadRequest."""
    if said not in {None, "csv", "json"}:
        raise BadRequest("format must be csv or json")
    return said == "csv" or (said is None and request.accept_mimetypes.best_match([JSON, CSV]) == CSV)
