"""Write every few seconds that workers can be heard, so that their silence is not taken for ours."""

import threading
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister import pool
from magister.database import Sessions

EVERY = pool.DEAF_AFTER.total_seconds() / 4
"""Seconds between two signs of life: three may be lost to a busy database."""

log = structlog.get_logger("magister.web")


def listen(sessions: Sessions, clock: Callable[[], datetime], stop: threading.Event | None = None) -> None:
    """Sign from a thread of its own until `stop` is set; None = until the process ends."""
    ended = stop or threading.Event()

    def sign_on() -> None:
        sign(sessions, clock)
        while not ended.wait(EVERY):
            sign(sessions, clock)

    threading.Thread(target=sign_on, name="hearing", daemon=True).start()


def sign(sessions: Sessions, clock: Callable[[], datetime]) -> None:
    """Write one sign of life; a database in trouble makes it be left out."""
    try:
        with sessions.write() as session:
            pool.note_hearing(session, clock())
    except SQLAlchemyError as error:
        log.debug("web.sign_left_out", error=" ".join(str(getattr(error, "orig", None) or error).split()))
