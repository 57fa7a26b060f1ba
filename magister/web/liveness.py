"""Write every few seconds that workers can be heard, so that their silence is not taken for ours."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister.store import pool, transitions
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder

SIGNS = 4
"""Signs of life in the time that a gap may last: three may be lost to a busy database."""

RETRY = 1.0
"""Seconds between two tries to write the first sign, at most: somebody may be waiting for it."""

EAGER = 60
"""Signs that follow the first one as quickly: a loop that starts beside it waits for one to rent."""

VERIFY_WITHIN = timedelta(seconds=180)
"""How long a worker has to call, unless the settings say so."""

log = structlog.get_logger("magister.web")


def listen(
    sessions: Sessions,
    clock: Callable[[], datetime],
    deaf_after: timedelta,
    stop: threading.Event | None = None,
    signed: threading.Event | None = None,
    verify_within: timedelta = VERIFY_WITHIN,
) -> None:
    """Sign from a thread of its own until `stop` is set; None = until the process ends.

    After a gap longer than `deaf_after` workers are heard anew, and before the first sign after half of it.
    `signed` is set by the first sign that the database takes. `verify_within` is as of `sign`.
    """
    ended, every = stop or threading.Event(), deaf_after.total_seconds() / SIGNS
    first = signed or threading.Event()

    def sign_on() -> None:
        while not sign(sessions, clock, pool.missed_after(deaf_after), verify_within=verify_within):
            if ended.wait(min(every, RETRY)):
                return
        first.set()
        eager = EAGER
        while not ended.wait(every if eager <= 0 else min(every, RETRY)):
            sign(sessions, clock, deaf_after, verify_within=verify_within)
            eager -= 1

    threading.Thread(target=sign_on, name="hearing", daemon=True).start()


def sign(
    sessions: Sessions,
    clock: Callable[[], datetime],
    deaf_after: timedelta = pool.DEAF_AFTER,
    *,
    verify_within: timedelta = VERIFY_WITHIN,
) -> bool:
    """Write one sign of life and return True; a database in trouble makes it be left out.

    After a gap the instances that wait for their workers have as much time left as when it began, and at
    most `verify_within`.
    """
    try:
        with sessions.write() as session:
            # by one clock for all hosts: signs by two that are apart would look like gap after gap
            now = LeaseHolder.time(session, clock())
            if (last := pool.missed_from(session, now, deaf_after=deaf_after)) is not None:
                transitions.wait_out(session, since=last, gap=now - last, latest=clock() + verify_within)
            pool.note_hearing(session, now, deaf_after=deaf_after)
    except SQLAlchemyError as error:
        log.debug("web.sign_left_out", error=" ".join(str(getattr(error, "orig", None) or error).split()))
        return False
    return True
