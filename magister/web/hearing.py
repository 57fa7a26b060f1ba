"""Write every few seconds that workers can be heard, so that their silence is not taken for ours."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister import pool
from magister.database import Sessions

SIGNS = 4
"""Signs of life in the time that a gap may last: three may be lost to a busy database."""

log = structlog.get_logger("magister.web")


def listen(
    sessions: Sessions,
    clock: Callable[[], datetime],
    deaf_after: timedelta,
    stop: threading.Event | None = None,
) -> None:
    """Sign from a thread of its own until `stop` is set; None = until the process ends.

    After a gap longer than `deaf_after` workers are heard anew.
    """
    ended, every = stop or threading.Event(), deaf_after.total_seconds() / SIGNS

    def sign_on() -> None:
        sign(sessions, clock, deaf_after)
        while not ended.wait(every):
            sign(sessions, clock, deaf_after)

    threading.Thread(target=sign_on, name="hearing", daemon=True).start()


def sign(sessions: Sessions, clock: Callable[[], datetime], deaf_after: timedelta = pool.DEAF_AFTER) -> None:
    """Write one sign of life; a database in trouble makes it be left out."""
    try:
        with sessions.write() as session:
            pool.note_hearing(session, clock(), deaf_after=deaf_after)
    except SQLAlchemyError as error:
        log.debug("web.sign_left_out", error=" ".join(str(getattr(error, "orig", None) or error).split()))
