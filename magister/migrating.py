"""Bring the database up to date on request, and say what that came to."""

from pathlib import Path

import structlog
from pydantic import SecretStr

from magister import ledger, pool, schema, startup
from magister.assembly import database
from magister.database import Sessions

log = structlog.get_logger("magister")


def prepare_callbacks(sessions: Sessions, token: SecretStr | None) -> None:
    """Make the secret for callback keys, and keep the keys of instances that `token` once signed.

    To be called before the web side answers: their workers call under these keys.
    """
    with sessions.write() as session:
        pool.callback_secret(session)
        unknown = ledger.keep_former_keys(session, token)
    if unknown:
        log.warning(
            "callback_keys.unknown",
            instances=unknown,
            why="they were rented under an api_token, and it is not set: their calls are refused",
            cure="set api_token to what it was and restart; or drop them: magister drop ROW",
        )


def migrate(config: Path | None, *, parent: int | None = None) -> str:
    """Migrate the database and return what was done, in a sentence. Raises Unusable.

    `parent` is the pipe to the supervisor, who hands the settings down; None = there is none.
    """
    settings = startup.begin(config, warn=False).settings if parent is None else startup.inherit()
    sessions = database(settings)
    before = schema.revision(sessions)
    changed = schema.migrate(sessions)
    prepare_callbacks(sessions, settings.api_token)
    where = f"the database {settings.database_url_shown}"
    if not changed:
        return f"{where} is at revision {before} already"
    return f"{where} went from {before or 'empty'} to revision {schema.head()}"
