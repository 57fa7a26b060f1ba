"""Bring the database up to date on request, and say what that came to."""

from pathlib import Path

from magister.service import startup
from magister.service.wiring import database
from magister.store.db import migrations
from magister.store.former_keys import prepare_callbacks


def migrate(config: Path | None, *, parent: int | None = None) -> str:
    """Migrate the database and return what was done, in a sentence. Raises Unusable.

    `parent` is the pipe to the supervisor, who hands the settings down; None = there is none.
    """
    settings = startup.begin(config, warn=False).settings if parent is None else startup.inherit()
    sessions = database(settings)
    before = migrations.revision(sessions)
    changed = migrations.migrate(sessions)
    prepare_callbacks(sessions, settings.api_token)
    where = f"the database {settings.database_url_shown}"
    if not changed:
        return f"{where} is at revision {before} already"
    return f"{where} went from {before or 'empty'} to revision {migrations.head()}"
