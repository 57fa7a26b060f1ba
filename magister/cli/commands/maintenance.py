"""Close the breakers by the word of the operator."""

from pathlib import Path

from magister.planner.conditions import BREAKERS
from magister.service import wiring
from magister.settings.model import load
from magister.store import pool
from magister.store.db.migrations import existing


def run(config: Path | None) -> str:
    """Let failures and losses until now hold nothing back, and return what did. Raises Unusable."""
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.write() as session:
        held = [found.what for found in pool.read(session).conditions if found.kind in BREAKERS]
        pool.trust(session, wiring.now())
    return "resumed: " + ("; ".join(held) if held else "nothing was held back")
