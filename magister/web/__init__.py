"""The HTTP side: it reads and writes the database, and knows neither Vast nor the loop."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from flask import Flask, Response

from magister.settings.model import Settings
from magister.settings.spec import fleet
from magister.store.db.engine import Sessions
from magister.web import costs, instance, problems
from magister.web.api import Api, blueprint
from magister.web.callbacks import Callbacks
from magister.web.drops.queue import KeptDrops
from magister.web.pages import pages
from magister.web.transactions import Store


def create_app(
    settings: Settings,
    sessions: Sessions,
    *,
    clock: Callable[[], datetime],
    nap: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    kept: KeptDrops | None = None,
    callbacks: Callbacks | None = None,
) -> Flask:
    """Return the WSGI application; nothing is connected before the first request.

    `clock` tells the time in UTC; `nap` and `monotonic` are in seconds. `kept` None = drops that cannot be
    written are kept, but nobody writes them; `callbacks` None = nothing is remembered of the instances.
    """
    app = Flask("magister.web", static_folder=None)
    store = Store(
        sessions=sessions,
        clock=clock,
        nap=nap,
        monotonic=monotonic,
        patience=settings.web.busy_timeout_secs,
    )
    stale_after = timedelta(seconds=settings.web.heartbeat_stale_secs)
    drops = kept or KeptDrops(sessions, clock, open_callbacks=settings.web.open_callbacks)
    for_people = pages(store, fleet(settings), stale_after, drops)
    api = Api(
        store=store,
        kept=drops,
        callbacks=callbacks or Callbacks(sessions, open_callbacks=settings.web.open_callbacks),
        open_callbacks=settings.web.open_callbacks,
        address=settings.this_magister_addr,
        stale_after=stale_after,
        pages=for_people,
    )
    app.register_blueprint(blueprint(api))
    app.register_blueprint(instance.blueprint(instance.Stories(store, for_people)))
    app.register_blueprint(costs.blueprint(costs.Costs(store)))
    problems.install(app, store.log)
    app.after_request(_guarded)
    return app


def _guarded(response: Response) -> Response:
    """Keep answers out of caches and from being read as something else; a view may say otherwise."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
