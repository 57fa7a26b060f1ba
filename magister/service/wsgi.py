"""The web side as a WSGI application: `gunicorn magister.wsgi:app`, or any other server of that kind.

Slow clients are kept from its threads by the server alone: with gunicorn by `-k magister.reception.Reception`
and `--keep-alive 0`, with others by a proxy in front. The settings are those of the folder it is started in.
"""

import atexit
import threading
from datetime import UTC, datetime, timedelta

import structlog
from flask import Flask

from magister.errors import Unusable
from magister.service import startup
from magister.service.exit import complain
from magister.settings.model import Settings
from magister.store import pool
from magister.store.db.engine import Sessions, open_database
from magister.web import create_app, liveness
from magister.web.callbacks import Callbacks
from magister.web.drops.queue import KeptDrops
from magister.web.drops.spool import Spool, place_for

LONGEST_TRY = 5.0
"""Seconds for which one try of a request waits for a lock; the request itself tries for longer."""

HOPELESS = 4
"""The code with which a web process tells gunicorn that starting another would be of no use."""

LAST_WORDS = 6.0
"""Seconds between the request to end and the last words on drops: some before the process may be killed."""

log = structlog.get_logger("magister.web")


def application(
    settings: Settings, *, signed: threading.Event | None = None, ending: threading.Event | None = None
) -> Flask:
    """Return the application; to be called after the fork, for it has an engine and threads of its own.

    `signed` is set as soon as the database was written to; None = nobody waits for that. `ending` is set by
    the caller when the process is asked to end; None = it comes to its end by itself.
    """
    sessions = _sessions(settings)
    beat_timeout = timedelta(seconds=settings.beat_timeout_secs)
    verify_within = timedelta(seconds=settings.contemplant_verification_timeout_secs)
    liveness.listen(sessions, _now, pool.deaf_after(beat_timeout), signed=signed, verify_within=verify_within)
    is_open = settings.web.open_callbacks
    callbacks = Callbacks(sessions, open_callbacks=is_open)
    callbacks.start()
    kept = KeptDrops(sessions, _now, _spool(settings), callbacks=callbacks, open_callbacks=is_open)
    kept.start()
    atexit.register(kept.end)
    if ending is not None:
        kept.name_before(ending, LAST_WORDS)
    return create_app(settings, sessions, clock=_now, kept=kept, callbacks=callbacks)


def require_usable(settings: Settings) -> None:
    """Raise DatabaseUnusable unless the database can be reached and stands at this version's revision."""
    from magister.store.db.migrations import (
        require_current,  # a supervised process needs no migrations in memory
    )

    sessions = _sessions(settings)
    require_current(sessions)
    sessions.engine.dispose()


def __getattr__(name: str) -> Flask:
    """Make `app` when a server asks for it: the import alone reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        loaded = startup.begin(None)
        require_usable(loaded.settings)
    except Unusable as error:
        complain(error)
        raise SystemExit(HOPELESS) from None
    return application(loaded.settings)


def _spool(settings: Settings) -> Spool:
    spool = Spool(place_for(settings.database_url.get_secret_value()))
    if why := spool.prepare():
        log.warning(
            "drops.in_memory_only",
            why=why,
            so="a drop that the database does not take is lost if the service ends before it does",
        )
    return spool


def _now() -> datetime:
    return datetime.now(UTC)


def _sessions(settings: Settings) -> Sessions:
    patience = settings.web.busy_timeout_secs
    return open_database(settings.database_url.get_secret_value(), busy_timeout=min(patience, LONGEST_TRY))
