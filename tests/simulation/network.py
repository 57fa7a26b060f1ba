"""The wire between Magister's client and the market: no sockets, and every way in which a call can end."""

import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import RemoteDisconnected
from urllib.parse import urlsplit

import requests
from flask import Flask
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError
from werkzeug.test import Client

from magister.simulator.runtime.held_calls import Pen
from magister.simulator.runtime.replies import Cut
from tests.simulation.clock import VirtualTime
from tests.simulation.death import Death, Killed
from tests.simulation.journal import Journal

LATENCY = 0.05
"""Seconds of the way to Vast, and of the way back."""

IN_FLIGHT = 3.0
"""Seconds after the death of its sender at which a request on its way takes effect."""

ROUTES = {
    ("PUT", "asks"): "create",
    ("DELETE", "instances"): "destroy",
    ("POST", "bundles"): "search",
    ("GET", "users"): "account",
}


class Unreachable(requests.ConnectionError):
    """No connection came about, so nothing was sent."""


class Impatient(BaseException):
    """The client has hung up; the server has not noticed."""


class VirtualPen(Pen):
    """Hold calls for virtual seconds; a client whose patience is at its end is told so."""

    def __init__(self, time: VirtualTime, patience: float) -> None:
        super().__init__()
        self._time = time
        self._patience = patience
        self.unheard = False

    def pause(self, secs: float) -> None:
        """Let so many virtual seconds pass, or as many as the client waits."""
        if self.unheard:
            return
        self._time.sleep(min(secs, self._patience))
        if secs > self._patience:
            raise Impatient


@dataclass(slots=True, kw_only=True)
class Watch:
    """Look at each request before it leaves, when it has arrived, and at what became of it."""

    leaving: Callable[[str, requests.PreparedRequest], None]
    arrived: Callable[[], None]
    ended: Callable[[str, requests.PreparedRequest, str], None]


@dataclass(slots=True, kw_only=True)
class Network:
    """Carry requests to the app behind their host, by name and port.

    `meanwhile` lets others go on while a request is on its way, and `retold` changes what an answer says.
    `unreachable` counts the connections to refuse on a route; `late` holds, for the next creates, how many
    seconds after the client has given them up they arrive at last.
    """

    time: VirtualTime
    pen: VirtualPen
    death: Death
    journal: Journal
    apps: dict[str, Flask]
    watch: Watch
    patience: float
    meanwhile: Callable[[], None] = lambda: None
    retold: Callable[[str, bytes], bytes] = lambda route, body: body
    unreachable: dict[str, int] = field(default_factory=dict)
    late: deque[float] = field(default_factory=deque)

    def calm(self) -> None:
        """Lose and delay nothing from now on."""
        self.unreachable.clear()
        self.late.clear()

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        """Send a request as an adapter of requests does, and raise what one raises."""
        route = route_of(request)
        self.watch.leaving(route, request)
        self.death(f"before the {route}")
        outcome = "died"
        try:
            response = self._carried(route, request)
        except Unreachable:
            outcome = "unreachable"
            raise
        except requests.RequestException as error:
            outcome = type(error).__name__
            raise
        else:
            outcome = str(response.status_code)
            return response
        finally:
            self.watch.ended(route, request, outcome)
            self.journal.note(f"{request.method} {_where(request)}: {outcome}")

    def _carried(self, route: str, request: requests.PreparedRequest) -> requests.Response:
        self.time.sleep(LATENCY)
        if self.unreachable.get(route, 0) > 0:
            self.unreachable[route] -= 1
            refused = NewConnectionError(None, "connection refused")  # type: ignore[arg-type] # only its words count
            raise Unreachable(MaxRetryError(None, "", refused))  # type: ignore[arg-type] # as above
        try:
            self.death(f"during the {route}")
            self.meanwhile()
        except Killed:
            self._deliver_later(request, IN_FLIGHT)
            raise
        if route == "create" and self.late:
            self.time.sleep(self.patience)
            self._deliver_later(request, self.late.popleft())
            raise requests.ReadTimeout("read timed out")
        try:
            response = self._delivered(request, route)
        except Cut:
            broken = ProtocolError("Connection aborted.", RemoteDisconnected("closed without response"))
            raise requests.ConnectionError(broken) from None
        except Impatient:
            raise requests.ReadTimeout("read timed out") from None
        self.death(f"after the {route}")
        self.time.sleep(LATENCY)
        return response

    def _delivered(self, request: requests.PreparedRequest, route: str = "") -> requests.Response:
        parts = urlsplit(request.url or "")
        try:
            answer = Client(self.apps[parts.netloc]).open(
                parts.path,
                method=request.method or "GET",
                query_string=parts.query,
                base_url=f"{parts.scheme}://{parts.netloc}",
                headers=list(request.headers.items()),
                data=request.body,
            )
        finally:
            self.watch.arrived()
        body = self.retold(route, answer.data)
        answer.headers["Content-Length"] = str(len(body))
        raw = HTTPResponse(
            body=io.BytesIO(body),
            headers=HTTPHeaderDict(answer.headers.items()),
            status=answer.status_code,
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)

    def _deliver_later(self, request: requests.PreparedRequest, secs: float) -> None:
        """Let a request arrive although nobody waits for its answer any more."""

        def arrive() -> None:
            self.pen.unheard = True
            try:
                status = str(self._delivered(request).status_code)
            except (Cut, Impatient):
                status = "cut"
            finally:
                self.pen.unheard = False
            self.journal.note(f"arrives late: {request.method} {_where(request)}: {status}")

        self.time.at(self.time.now + secs, arrive)


def route_of(request: requests.PreparedRequest) -> str:
    """Name the route of a request as the simulator does."""
    path = urlsplit(request.url or "").path
    if path.startswith("/instance_logs/"):
        return "log_text"
    if not path.startswith("/api/"):
        return "roster"
    version, what = path.split("/")[2:4]
    if (request.method, what) == ("GET", "instances"):
        return "list" if version == "v1" else "show"
    return ROUTES.get((request.method or "", what), what)


def _where(request: requests.PreparedRequest) -> str:
    return urlsplit(request.url or "").path
