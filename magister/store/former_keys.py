"""Keep the callback keys of instances that were rented before each had one of its own."""

import structlog
from pydantic import SecretStr

from magister.store import pool, transitions
from magister.store.db.engine import Sessions

log = structlog.get_logger("magister")


def prepare_callbacks(sessions: Sessions, token: SecretStr | None) -> None:
    """Make the secret for callback keys, and keep the keys of instances that `token` once signed.

    To be called before the web side answers: their workers call under these keys.
    """
    with sessions.write() as session:
        pool.callback_secret(session)
        unknown = transitions.keep_former_keys(session, token)
    if unknown:
        log.warning(
            "callback_keys.unknown",
            instances=unknown,
            why="they were rented under an api_token, and it is not set: their calls are refused",
            cure="set api_token to what it was and restart; or drop them: magister drop ROW",
        )
