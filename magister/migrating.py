"""Bring the database up to date on request, and say what that came to."""

from pathlib import Path

from magister import schema, startup
from magister.assembly import database


def migrate(config: Path | None) -> str:
    """Migrate the database and return what was done, in a sentence. Raises Unusable."""
    settings = startup.begin(config, warn=False).settings
    sessions = database(settings)
    before = schema.revision(sessions)
    changed = schema.migrate(sessions)
    where = f"the database {settings.database_url_shown}"
    if not changed:
        return f"{where} is at revision {before} already"
    return f"{where} went from {before or 'empty'} to revision {schema.head()}"
