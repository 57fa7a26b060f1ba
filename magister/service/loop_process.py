"""The process that keeps the pool: the loop in its main thread, from start to an orderly end."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy.exc import DBAPIError

from magister.control.loop import Loop
from magister.errors import DatabaseReplaced
from magister.service import logging, signals, startup
from magister.service.wiring import Assembled, assembled, database, now

CLOSE_WITHIN = 8.0
"""Seconds that calls to Vast which are under way have to come to their end."""

END_WITHIN = 9.5
"""Seconds after which the process ends whatever it waits for, a busy database say."""

HUNG_AFTER = 180.0
"""Seconds within which the loop always comes round, however long it waits for locks of the database."""

log = structlog.get_logger("magister.worker")


def run(config: Path | None, *, parent: int | None = None) -> None:
    """Keep the pool until SIGTERM, SIGINT or the death of the supervisor at the other end of `parent`.

    The rented boxes go on. Raises Unusable; under a supervisor, who hands the settings down, the database is
    not asked for its revision, since the migration has just run and trouble that comes later is waited for.
    """
    settings = startup.begin(config).settings if parent is None else startup.inherit()
    sessions = database(settings, bound=True)  # what a call comes to is for the rows it was made for
    if parent is None:
        from magister.store.db.migrations import (
            require_current,  # a supervised process needs no migrations in memory
        )

        require_current(sessions)
    machine = assembled(settings, sessions)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = threading.Event()
    signals.when_ending(lambda: _end(machine, ended), parent=parent)
    threading.Thread(target=watch, args=(machine.loop, ended), name="watch", daemon=True).start()
    try:
        machine.loop.run()
    finally:
        _close(machine)
        ended.set()


def watch(
    loop: Loop,
    ended: threading.Event,
    *,
    every: float = HUNG_AFTER,
    leave: Callable[[int], object] = os._exit,
) -> None:
    """End the process when the loop hangs, whatever it hangs on; the next one begins afresh."""
    turns = loop.turns
    while not ended.wait(every):
        if loop.turns == turns:
            log.error("worker.hung", why=f"the loop has stood still for {every:g} s; it is started again")
            logging.flush()
            leave(1)
            return
        turns = loop.turns


def _end(machine: Assembled, ended: threading.Event) -> None:
    """Ask the loop to end, and see to it that the process does."""
    machine.loop.end()
    if not ended.wait(END_WITHIN):
        log.warning("worker.cut_off", why=f"it did not end within {END_WITHIN} s; nothing is lost by that")
        logging.flush()
        os._exit(0)


def _close(machine: Assembled) -> None:
    """Wait for calls under way and let a successor act at once; a failure is healed by the next start."""
    if not machine.lanes.close(CLOSE_WITHIN):
        log.warning("worker.calls_cut_off", why="listings will tell what came of them")
    try:
        machine.lease.release(now())
    except DBAPIError as error:
        log.warning("worker.lease_kept", error=" ".join(str(error.orig).split()))
    except DatabaseReplaced:
        pass  # the lease went with the file, and why this process ends is told
    machine.loop.sessions.engine.dispose()
