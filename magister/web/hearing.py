"""Write every few seconds that workers can be heard, so that their silence is not taken for ours."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister import pool
from magister.database import Sessions
from magister.lease import LeaseHolder

SIGNS = 4
"""Signs of life in the time that a gap may last: three may be lost to a busy database."""

RETRY = 1.0
"""Seconds between two tries to write the first sign, at most: somebody may be waiting for it."""

log = structlog.get_logger("magister.web")


def listen(
    sessions: Sessions,
    clock: Callable[[], datetime],
    deaf_after: timedelta,
    stop: threading.Event | None = None,
    signed: threading.Event | None = None,
) -> None:
    """Sign from a thread of its own until `stop` is set; None = until the process ends.

    After a gap longer than `deaf_after` workers are heard anew, and before the first sign after half of it.
    `signed` is set by the first sign that the database takes.
    """
    ended, every = stop or threading.Event(), deaf_after.total_seconds() / SIGNS
    first = signed or threading.Event()

    def sign_on() -> None:
        while not sign(sessions, clock, pool.missed_after(deaf_after)):
            if ended.wait(min(every, RETRY)):
                return
        first.set()
        while not ended.wait(every):
            sign(sessions, clock, deaf_after)

    threading.Thread(target=sign_on, name="hearing", daemon=True).start()


def sign(sessions: Sessions, clock: Callable[[], datetime], deaf_after: timedelta = pool.DEAF_AFTER) -> bool:
    """Write one sign of life and return True; a database in trouble makes it be left out."""
    try:
        with sessions.write() as session:
            # by one clock for all hosts: signs by two that are apart would look like gap after gap
            pool.note_hearing(session, LeaseHolder.time(session, clock()), deaf_after=deaf_after)
    except SQLAlchemyError as error:
        log.debug("web.sign_left_out", error=" ".join(str(getattr(error, "orig", None) or error).split()))
        return False
    return True
