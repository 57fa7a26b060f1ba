"""What was spent, over HTTP: JSON, or CSV for whoever asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from magister import statements
from magister.web.api import shown
from magister.web.store import Store

CSV = "text/csv"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Costs:
    """Hold what the views need."""

    store: Store

    def cost(self) -> Response:
        """Show what was spent."""
        given, now = parameters("from", "to", "by", "format"), self.store.clock()
        as_csv = wants_csv(given.get("format"))
        try:
            asked = statements.wish(now, first=given.get("from"), last=given.get("to"), by=given.get("by"))
        except ValueError as error:
            raise BadRequest(str(error)) from None
        told = self.store.read(lambda session: statements.statement(session, asked, now))
        if not as_csv:
            answer = shown(statements.jsonable(told))
        else:
            answer = Response(statements.as_csv(told), content_type=f"{CSV}; charset=utf-8")
        answer.vary.add("Accept")
        return answer


def blueprint(costs: Costs) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("costs", __name__)
    routes.add_url_rule("/cost", view_func=costs.cost, methods=["GET"])
    return routes


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
