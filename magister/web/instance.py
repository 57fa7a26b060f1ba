"""The life of one instance over HTTP."""

from dataclasses import dataclass

from flask import Blueprint, Response

from magister.errors import UnknownInstance
from magister.reports import queries
from magister.reports.instance_story import jsonable
from magister.web import pages
from magister.web.api import id_in, shown
from magister.web.pages import Pages
from magister.web.transactions import Store


@dataclass(frozen=True, slots=True)
class Stories:
    """Hold what the view needs."""

    store: Store
    pages: Pages

    def story(self, which: str) -> Response:
        """Tell why an instance was chosen, what it did, what it cost, why it went and what its logs said."""
        number, now = id_in(which, "id of an instance"), self.store.clock()
        life = self.store.read(lambda session: queries.life(session, number, now))
        if life is None:
            raise UnknownInstance(f"there is no instance {number} here")
        answer = self.pages.story(life) if pages.wanted() else shown(jsonable(life))
        answer.vary.add("Accept")
        return answer


def blueprint(stories: Stories) -> Blueprint:
    """Return the route."""
    routes = Blueprint("stories", __name__)
    routes.add_url_rule("/instances/<which>/story", view_func=stories.story, methods=["GET"])
    return routes
