"""Close the breakers by the word of the operator."""

from pathlib import Path

from magister import assembly, pool
from magister.conditions import BREAKERS
from magister.schema import existing
from magister.settings import load


def run(config: Path | None) -> str:
    """Let failures and losses until now hold nothing back, and return what did. Raises Unusable."""
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.write() as session:
        held = [found.what for found in pool.read(session).conditions if found.kind in BREAKERS]
        pool.trust(session, assembly.now())
    return "resumed: " + ("; ".join(held) if held else "nothing was held back")
