"""How the web process takes requests in: a thread is given a whole one, and never waits for a client.

gunicorn's own threads read from the client and write to it, so as many clients as there are threads need
only be slow, or silent, to keep everybody else out, the coordinator with its one DELETE among them. Here one
selector does all that depends on clients: it gathers each request, within a time, hands it to a thread when
it is complete, and delivers the answer, within a time. When there are too many, those who have kept it
waiting longest make room. One connection is for one request. Drops have threads of their own, so that none
waits in memory, unread, behind others that wait for the database, also not behind other drops. So have
verifies, which may wait for a first listing: whoever only reads is answered beside them.
"""

import errno
import json
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from gunicorn.http import Request
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker

from magister.web.server.connection import Guest, Stage, Visit
from magister.web.server.limited_log import LimitedLog
from magister.web.server.request_buffer import Arrival, Kind, Verdict

RECEIVE_SECS = 10.0
"""Seconds that a client has to send its request."""

DELIVER_SECS = 10.0
"""Seconds that a client has to take its answer."""

LINGER_SECS = 2.0
"""Seconds that a client has to hang up, for a connection closed too early can cost it the answer.

When the process is asked to end, also the seconds that a client has to send its request.
"""

MERCY_SECS = 0.5
"""Seconds for which nobody who still waits for something has to make room for others."""

LINGER_BYTES = 64 * 1024 * 1024
"""Bytes that it may go on sending meanwhile: the reason of a drop may have any length."""

CONNECTIONS = 512
"""Connections at a time: well below the 1024 open files that a process is often allowed."""

VERIFY_THREADS = 128
"""Threads for verifies: more than may wait (magister.web.waiting), so that others are answered at once."""

WHY_SHOWN = 100
"""Characters that are logged of why a request was refused: it may repeat a part of it."""

ROOM = 64
"""Connections that make room at once when there are so many."""

BACKLOG_BYTES = 64 * 1024 * 1024
"""Bytes of answers that may wait for their clients; beyond that, the oldest make room."""

UNUSED_HEADERS: Mapping[str, object] = {
    "secure_scheme_headers": {},
    "forwarder_headers": "",
    "header_map": "drop",
}
"""Options of gunicorn under which it passes over headers of proxies that nobody here reads.

By default it refuses a request whose X-Forwarded-Proto and X-Forwarded-Ssl disagree, and takes the path of
the application from a header SCRIPT_NAME.
"""

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSED = {
    Verdict.NO_REQUEST: (HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request"),
    Verdict.LINE_TOO_LONG: (HTTPStatus.REQUEST_URI_TOO_LONG, "the first line is too long"),
    Verdict.HEAD_TOO_LONG: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long"),
}
_FAULTS: dict[type[ParseException], HTTPStatus] = {
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class Reception(ThreadWorker):
    """Take requests in and deliver answers, all in the main thread; gunicorn's threads do the rest."""

    _for_drops: ThreadPoolExecutor
    _for_verifies: ThreadPoolExecutor

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Begin with nobody, and let no header that is not used refuse a request."""
        super().__init__(*arguments, **more)
        for name, value in UNUSED_HEADERS.items():
            self.cfg.set(name, value)
        self._guests: set[Guest] = set()
        self._log = LimitedLog()

    def init_process(self) -> None:
        """Take further threads where gunicorn takes its own, after the fork; they are made when needed."""
        self._for_drops = ThreadPoolExecutor(CONNECTIONS)
        self._for_verifies = ThreadPoolExecutor(VERIFY_THREADS)
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Give a request to a thread of its kind."""
        visit = cast("Visit", conn)  # no other is ever given to a thread
        match visit.kind:
            case Kind.DROP:
                threads = self._for_drops
            case Kind.VERIFY:
                threads = self._for_verifies
            case Kind.OTHER:
                threads = self.tpool
        work = threads.submit(self.handle, visit)
        work.add_done_callback(partial(self.method_queue.defer, self.finish_request, visit))

    def accept(self, listener: socket.socket) -> None:
        """Welcome a client."""
        try:
            sock, client = listener.accept()
        except OSError as error:  # the client is gone again, or no file can be opened for it
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room(time.monotonic())
            return
        self.nr_conns += 1
        sock.setblocking(False)
        guest = Guest(sock, client, listener.getsockname(), time.monotonic())
        self._guests.add(guest)
        self.poller.register(sock, selectors.EVENT_READ, partial(self._receive, guest))

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """Wait for clients and threads, not for long while others wait for room."""
        crowded = self.nr_conns >= self.worker_connections
        super().wait_for_and_dispatch_events(MERCY_SECS / 5 if crowded else timeout)

    def murder_pending(self) -> None:
        """Go on without those who took too long; gunicorn asks at least once a second."""
        now = time.monotonic()
        for guest in tuple(self._guests):
            waited = now - guest.since
            match guest.stage:
                case Stage.ARRIVING if waited >= (RECEIVE_SECS if self.alive else LINGER_SECS):
                    self._give_up(guest)
                case Stage.LEAVING if waited >= DELIVER_SECS:
                    self._part(guest)
                case Stage.LINGERING if waited >= LINGER_SECS:
                    self._part(guest)
        if self.nr_conns >= self.worker_connections:
            self._make_room(now)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Deliver what the thread has left; whatever it was, the connection ends with it."""
        visit = cast("Visit", conn)  # no other is ever given to a thread
        self._deliver(visit.guest, bytes(visit.outbox.kept))

    def handle_error(self, req: Request | None, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is not HTTP with a problem, as everything else is."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = next(
            (code for kind, code in _FAULTS.items() if isinstance(exc, kind)), HTTPStatus.BAD_REQUEST
        )
        self._note(addr, status, str(exc))
        client.sendall(refusal(status, "this is no HTTP/1.1 request that can be answered"))

    def _note(self, client: tuple[Any, ...], status: HTTPStatus, why: str) -> None:
        """Write that a request was refused before the application saw it."""
        address = str(client[0]) if client else None
        self._log.info("web.refused", per=status, status=status.value, client=address, why=why[:WHY_SHOWN])

    def _receive(self, guest: Guest, _: object) -> None:
        if guest not in self._guests:
            return  # it had to make room since the selector spoke
        piece = guest.come()
        if piece is None:
            return
        if not piece:
            self._give_up(guest)
            return
        verdict = guest.arrival.take(piece)
        if verdict is Verdict.WHOLE:
            self._admit(guest)
        elif verdict in _REFUSED:
            self._note(guest.client, *_REFUSED[verdict])
            self._deliver(guest, refusal(*_REFUSED[verdict]))
        elif guest.arrival.expects_go_on:
            guest.arrival.expects_go_on = False
            with suppress(OSError):
                guest.sock.send(_GO_ON)

    def _give_up(self, guest: Guest) -> None:
        """Wait no more for the rest of a request; a wish stands in its first line, and is made only once."""
        if guest.arrival.clear:
            self._admit(guest)
        elif guest.arrival.data:
            self._deliver(guest, refusal(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time"))
        else:
            self._part(guest)

    def _admit(self, guest: Guest) -> None:
        self.poller.unregister(guest.sock)
        guest.stage = Stage.WORKING
        self.enqueue_req(Visit(self.cfg, guest))
        guest.arrival = Arrival()  # the visit has all of it

    def _deliver(self, guest: Guest, answer: bytes) -> None:
        """Begin to send the answer; an empty one ends the connection."""
        guest.answer = memoryview(answer)
        self._enter(guest, Stage.LEAVING, selectors.EVENT_WRITE, self._send)
        self._send(guest)
        waiting = sorted((each for each in self._guests if each.answer), key=_since)
        unsent = sum(len(each.answer) for each in waiting)
        for each in waiting[:-1]:
            if unsent <= BACKLOG_BYTES:
                break
            unsent -= len(each.answer)
            self._part(each)

    def _send(self, guest: Guest, _: object = None) -> None:
        if guest not in self._guests:
            return
        try:
            guest.answer = guest.answer[guest.sock.send(guest.answer) :]
            if guest.answer:
                return
            guest.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._part(guest)
            return
        self._enter(guest, Stage.LINGERING, selectors.EVENT_READ, self._discard)

    def _discard(self, guest: Guest, _: object) -> None:
        """Read on until the client hangs up: a reset for what was left unread would cost it the answer."""
        if guest not in self._guests:
            return
        piece = guest.come()
        if piece is None:
            return
        guest.discarded += len(piece)
        if not piece or guest.discarded > LINGER_BYTES:
            self._part(guest)

    def _enter(self, guest: Guest, stage: Stage, event: int, on: Callable[[Guest, object], None]) -> None:
        watch = self.poller.register if guest.stage is Stage.WORKING else self.poller.modify
        guest.stage, guest.since = stage, time.monotonic()
        watch(guest.sock, event, partial(on, guest))

    def _make_room(self, now: float) -> None:
        """Part with those who have kept us waiting longest; a wish of theirs that is known is heard."""
        waiting = [
            guest
            for guest in self._guests
            if guest.stage is Stage.LINGERING  # has its answer
            or (guest.stage is not Stage.WORKING and now - guest.since >= MERCY_SECS)
        ]
        for guest in sorted(waiting, key=_since)[:ROOM]:
            if guest.stage is Stage.ARRIVING and guest.arrival.clear:
                self._admit(guest)
            else:
                self._part(guest)

    def _part(self, guest: Guest) -> None:
        if guest.stage is not Stage.WORKING:
            self.poller.unregister(guest.sock)
        self._guests.remove(guest)
        self.nr_conns -= 1
        guest.sock.close()


def _since(guest: Guest) -> float:
    return guest.since


def refusal(status: HTTPStatus, detail: str) -> bytes:
    """Return the whole answer, a problem (RFC 9457), to what never reaches the application."""
    said = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    body = json.dumps(said)
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nCache-Control: no-store\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
