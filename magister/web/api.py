"""The HTTP API: each view parses, makes one call, and renders."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from flask import Blueprint, Response, request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.exceptions import BadRequest

from magister import __version__
from magister.domain.instance import Held
from magister.domain.observed import LARGEST_ID
from magister.errors import DatabaseUnusable, TooEarly, UnknownInstance
from magister.reports import overview, readiness
from magister.store import requests
from magister.web import openapi, pages, serializers
from magister.web.browsers import refuse_pages
from magister.web.callbacks import Callbacks
from magister.web.drops.queue import KeptDrops
from magister.web.drops.spool import Drop
from magister.web.pages import Pages
from magister.web.server.request_buffer import REASON_LIMIT
from magister.web.transactions import Store
from magister.web.waiting import Place

log = structlog.get_logger("magister.web")

ENDPOINTS = {
    "GET /summary": "what is kept, and what it costs",
    "GET /instances": "every instance that is not proved gone; pending=1 those without a contract too",
    "GET /instances/<row id>/story": "one instance's life, in sentences",
    "GET /verify/<offer id>": "a worker says that it runs",
    "GET /verify/<offer id>/started": "an instance says that its heartbeats begin; it verifies nothing",
    "DELETE /drop/<offer id>": "the coordinator gives up on a worker; the body is the reason",
    "GET /cost": "what was spent from= to= (UTC days) by= day, machine, host, gpu, reason or state",
    "GET /bill": "what Vast charged from= to= (UTC days), beside what was estimated",
    "GET /healthz": "whether this process answers",
    "GET /readyz": "whether the pool is being kept, and what is wrong with it",
    "GET /openapi.json": "what all this looks like, in OpenAPI's terms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Hold what the views need; `open_callbacks` = a call without a key may mean any instance."""

    store: Store
    kept: KeptDrops
    callbacks: Callbacks
    open_callbacks: bool
    address: str  # where workers reach it
    stale_after: timedelta
    pages: Pages

    def index(self) -> Response:
        """Show the pool to a browser, and name the endpoints to everybody else."""
        answer = self.pages.pool() if pages.wanted() else shown(serializers.index(ENDPOINTS, __version__))
        answer.vary.add("Accept")
        return answer

    def summary(self) -> Response:
        """Show what is kept and what it costs."""
        return shown(serializers.summary(self.store.read(overview.summary)))

    def instances(self) -> Response:
        """Show every instance with a contract that is not proved gone; with `pending=1` the others too."""
        pending = request.args.get("pending") == "1"
        views = self.store.read(overview.instances)
        return shown(
            [serializers.instance(view) for view in views if pending or view.instance_id is not None]
        )

    def verify(self, which: str) -> Response:
        """Hear a worker; HEAD is told what a worker would be, and changes nothing."""
        offer_id, key = id_in(which), request.args.get("key") or None
        if request.method == "HEAD":
            seen = self.store.read(lambda session: self._find(session, offer_id, key))
            return shown(serializers.answer(requests.current(seen)))
        self._refuse_pages()
        beat = "beat" in request.args
        with self._admitted(offer_id, key, waits=not beat) as place:
            row = self.store.write(
                lambda session, now: requests.verify(
                    session, offer_id, key=key, now=now, beat=beat, open_callbacks=self.open_callbacks
                ),
                place,
            )
        self.callbacks.note(offer_id, key)
        if beat:
            log.debug("verify.heard", instance=row.id, offer=offer_id, contract=row.contract_id, beat=beat)
        else:
            self.store.log.info(
                "verify.heard",
                per=row.id,
                instance=row.id,
                offer=offer_id,
                contract=row.contract_id,
                beat=beat,
            )
        return shown(serializers.answer(row))

    def announce(self, which: str) -> Response:
        """Hear that the heartbeats of an instance begin; HEAD changes nothing."""
        offer_id, key = id_in(which), request.args.get("key") or None
        seen = self.store.read(lambda session: self._find(session, offer_id, key))
        if request.method == "HEAD" or seen.announced_at is not None:  # it is repeated while no worker runs
            return shown(serializers.answer(requests.current(seen)))
        self._refuse_pages()
        with self._admitted(offer_id, key, waits=False) as place:
            row = self.store.write(
                lambda session, now: requests.announce(
                    session, offer_id, key=key, now=now, open_callbacks=self.open_callbacks
                ),
                place,
            )
        log.debug("heartbeat.announced", instance=row.id, offer=offer_id, contract=row.contract_id)
        return shown(serializers.answer(row))

    def drop(self, which: str) -> Response:
        """Hear the coordinator."""
        offer_id, key = id_in(which), request.args.get("key") or None
        self._refuse_pages()
        why = requests.legible(reason())
        asked = Drop(offer_id=offer_id, key=key, why=why, heard_at=self.store.clock())
        with self.kept.until_heard(asked), self._admitted(offer_id, key) as place:
            self.kept.require_no_crowd()
            row = self.store.write(
                lambda session, now: requests.drop(
                    session, offer_id, key=key, why=why, now=now, open_callbacks=self.open_callbacks
                ),
                place,
            )
        self.store.log.info(
            "drop.heard", per=row.id, instance=row.id, offer=offer_id, state=row.state, why=why
        )
        return shown(serializers.answer(row))

    def _refuse_pages(self) -> None:
        refuse_pages(dict(request.headers), method=request.method, address=self.address)

    def _find(self, session: Session, offer_id: int, key: str | None) -> Held:
        return requests.find(session, offer_id, key=key, open_callbacks=self.open_callbacks)

    @contextmanager
    def _admitted(self, offer_id: int, key: str | None, *, waits: bool = True) -> Iterator[Place | None]:
        """Refuse what is about no instance of ours, and give what is left a place in which it may wait.

        What cannot be told apart yet waits until it can, if there is a place for it, and is refused at once
        otherwise. A heartbeat does not wait (`waits`), for it comes again.
        """

        def find(session: Session) -> Held:
            return self._find(session, offer_id, key)

        obstacle: Exception | None = None
        try:
            self.store.read(find)
        except (TooEarly, DatabaseUnusable, SQLAlchemyError) as error:
            obstacle = error
        if obstacle is not None and not waits:
            raise obstacle
        if not waits:
            yield None
            return
        known = obstacle is None or self.callbacks.know(offer_id, key)
        with self.store.place(request.remote_addr or "", known=known) as place:
            if obstacle is not None and place is None:
                raise obstacle
            if isinstance(obstacle, TooEarly) and place is not None:
                self.store.read_once_listed(find, place)
            yield place

    def healthz(self) -> Response:
        """Say that this process answers, whatever the database does."""
        return shown({"alive": True})

    def readyz(self) -> Response:
        """Say whether the pool is being kept, and what is wrong with it."""
        now, stale_after = self.store.clock(), self.stale_after
        try:
            ready = self.store.read(lambda session: readiness.readiness(session, now, stale_after))
            if readiness.late(ready, stale_after):
                ready = readiness.obstructed(ready, self.store.obstacle())
        except (DatabaseUnusable, SQLAlchemyError, OSError):  # it may answer, and hold no tables of ours
            ready = readiness.unreachable()
        ready = replace(ready, conditions=(*ready.conditions, *self.kept.conditions()))
        return shown(serializers.readiness(ready), 200 if ready.ready else 503)

    def openapi(self) -> Response:
        """Describe the API."""
        return shown(openapi.document(__version__))


def blueprint(api: Api) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("api", __name__)
    routes.add_url_rule("/", view_func=api.index, methods=["GET"])
    routes.add_url_rule("/summary", view_func=api.summary, methods=["GET"])
    routes.add_url_rule("/instances", view_func=api.instances, methods=["GET"])
    routes.add_url_rule("/verify/<which>", view_func=api.verify, methods=["GET"])
    routes.add_url_rule("/verify/<which>/started", view_func=api.announce, methods=["GET"])
    routes.add_url_rule("/drop/<which>", view_func=api.drop, methods=["DELETE"])
    routes.add_url_rule("/healthz", view_func=api.healthz, methods=["GET"])
    routes.add_url_rule("/readyz", view_func=api.readyz, methods=["GET"])
    routes.add_url_rule("/openapi.json", view_func=api.openapi, methods=["GET"])
    return routes


def shown(body: object, status: int = 200) -> Response:
    """Return `body` as JSON."""
    return Response(json.dumps(body, allow_nan=False), status, content_type="application/json")


def id_in(text: str, what: str = "offer id") -> int:
    """Read an id; raises BadRequest, or UnknownInstance for one that nothing can have."""
    if not re.fullmatch(r"[0-9]+", text):
        raise BadRequest(f"an {what} is written in the digits 0 to 9 only")
    digits = text.lstrip("0") or "0"
    # the length first: Python refuses to read a number of thousands of digits
    if len(digits) > len(str(LARGEST_ID)) or int(digits) > LARGEST_ID:
        raise UnknownInstance(f"no {what} is so large")
    return int(digits)


def reason() -> str:
    """Return the beginning of the body as text, whatever it is: the wish is made only once, and counts."""
    body = bytearray()
    with suppress(Exception):  # a body that breaks off or is not even HTTP; servers have their own errors
        while left := REASON_LIMIT - len(body):
            piece = request.stream.read(left)
            if not piece:
                break
            body += piece
    return body.decode(errors="replace")
