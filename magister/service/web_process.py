"""The process that answers HTTP: gunicorn with threads, on a socket that was opened before it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from magister.service import signals, startup
from magister.service.exit import complain, debugging
from magister.service.supervisor import ANSWERS, WRITES
from magister.settings.model import Settings
from magister.web.server.request_buffer import LINE_LIMIT
from magister.web.server.worker import CONNECTIONS

if TYPE_CHECKING:
    from flask import Flask
    from gunicorn.config import Config

GRACE = 8
"""Seconds that requests under way have to come to their end."""

HUNG_AFTER = 60
"""Seconds without a sign of life after which gunicorn replaces a web process."""

HOPELESS = {1: 3, 2: 4}
"""By our exit code, the code with which a web process keeps gunicorn from starting another."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where gunicorn keeps its sign of life, a file without a name


def run(
    config: Path | None, *, descriptor: int | None = None, parent: int | None = None, ready: int | None = None
) -> int:
    """Answer HTTP until SIGTERM, SIGINT or the death of the supervisor, and return the exit code.

    `descriptor` is a listening socket, None = open one; `parent` is the pipe to the supervisor, who hands the
    settings down, and under whom the database is not asked for its revision, since the migration has just
    run; `ready` is the pipe that tells him of the first process that answers and writes. Raises Unusable.
    """
    settings = startup.begin(config).settings if parent is None else startup.inherit()
    if descriptor is None:
        descriptor = startup.listen(settings).detach()
    master = os.getpid()
    try:
        Server(settings, descriptor, parent, ready).run()
    except SystemExit as ended:
        if os.getpid() != master:
            raise  # a web process leaves here as well, with a code that is for gunicorn
        ours = {theirs: ours for ours, theirs in HOPELESS.items()}
        code = ended.code if isinstance(ended.code, int) else 0
        return ours.get(code, code)
    return 0


Handler = Callable[[int, FrameType | None], Any] | int | None
"""What a signal meets."""


class Server(BaseApplication):
    """Run gunicorn with what the settings say of the web side."""

    def __init__(self, settings: Settings, descriptor: int, parent: int | None, ready: int | None) -> None:
        """Take a listening socket and the pipes from and to the supervisor; None = there is none."""
        self._settings = settings
        self._descriptor = descriptor
        self.parent = parent
        self._ready = ready
        self._signed, self._ending = threading.Event(), threading.Event()
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn how to run; what an older one does not know is left out."""
        told = options(self._settings, self._descriptor) | {"post_worker_init": self._at_work}
        for name, value in told.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:  # type: ignore[override] # the stubs know WSGI by narrower types than Flask's
        """Make the application, in the web process: an engine must not be shared over a fork."""
        try:
            # only here, so that the master, which answers nothing, stays small
            from magister.service.wsgi import application, require_usable

            if self.parent is None:
                require_usable(self._settings)
            return application(self._settings, signed=self._signed, ending=self._ending)
        except Exception as error:
            raise SystemExit(HOPELESS[complain(error)]) from None

    def run(self) -> None:
        """Serve until asked to end; always leaves by SystemExit."""
        Master(self).run()

    def _at_work(self, worker: object) -> None:
        """Let the supervisor hear of it; it is to outlive its terminal, though gunicorn told it to die."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, partial(self._end, signal.getsignal(signal.SIGTERM)))
        if self._ready is not None:
            _say(self._ready, ANSWERS)
            threading.Thread(target=self._tell, args=(self._ready,), name="at-work", daemon=True).start()

    def _end(self, gunicorns: Handler, number: int, frame: FrameType | None) -> None:
        """Let the application know, and leave the rest to gunicorn."""
        self._ending.set()
        if callable(gunicorns):
            gunicorns(number, frame)

    def _tell(self, ready: int) -> None:
        """Say that a web process answers, once the database takes what it writes.

        Before that its predecessor may keep drops in memory that would end with it.
        """
        self._signed.wait()
        _say(ready, WRITES)


class Master(Arbiter):
    """Keep the web processes, as long as the supervisor lives."""

    app: Server

    def murder_workers(self) -> None:
        """End in good order when the supervisor is gone; gunicorn asks about every second."""
        if signals.closed(self.app.parent):
            raise StopIteration
        super().murder_workers()

    def handle_hup(self) -> None:
        """Do nothing: the supervisor is who reads the settings again, and starts another for them."""

    handle_usr2 = handle_hup  # a second master would answer beside this one


class Log(Logger):
    """Let gunicorn write into the log of everything else."""

    def setup(self, cfg: Config) -> None:
        """Take away the handlers that gunicorn gives its loggers."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
        if not debugging():
            self.error_log.setLevel(logging.WARNING)

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Pass over what gunicorn says of an end that was explained already."""
        explained = str(msg).startswith(("Shutting down", "Reason:")) or args[-1:] in {(3,), (4,)}
        self.error_log.log(logging.DEBUG if explained else logging.ERROR, msg, *args)


def _say(ready: int, word: bytes) -> None:
    """Tell the supervisor, who listens for the first process only."""
    with suppress(OSError):
        os.write(ready, word)


def options(settings: Settings, descriptor: int) -> dict[str, object]:
    """Return gunicorn's options."""
    return {
        "bind": f"fd://{descriptor}",
        "worker_class": "magister.web.server.worker.Reception",
        "workers": settings.web.workers,
        "threads": settings.web.threads,
        "timeout": HUNG_AFTER,
        "graceful_timeout": GRACE,
        "keepalive": 0,  # one connection is for one request
        "worker_connections": CONNECTIONS,
        "limit_request_line": LINE_LIMIT,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        "preload_app": False,
        "control_socket_disable": True,
        "worker_tmp_dir": str(IN_MEMORY) if os.access(IN_MEMORY, os.W_OK) else None,
        "accesslog": "-" if debugging() else None,
        "logger_class": Log,
        "proc_name": "magister",
    }
