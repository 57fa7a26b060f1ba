"""A gate before a commit on PostgreSQL: it stops whoever makes one kind of change to a row, just there.

The gate is a deferred trigger that waits for a lock of the test, so the service needs no hook for it: its
COMMIT has been sent and is not answered. Once the gate is open the commit is carried out, whatever has become
of its author.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text

LOCK = 0x6761_7465

INTENT = "INSERT"
CLAIM = "UPDATE WHEN (NEW.sends > OLD.sends)"
RENTED = "UPDATE WHEN (OLD.contract_id IS NULL AND NEW.contract_id IS NOT NULL)"
DROP = "UPDATE WHEN (OLD.state <> 'dropping' AND NEW.state = 'dropping')"
DESTROY = "UPDATE WHEN (NEW.destroys > OLD.destroys)"
GONE = "UPDATE WHEN (OLD.state <> 'destroyed' AND NEW.state = 'destroyed')"

MAKE = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_advisory_xact_lock_shared({lock}); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER gate AFTER {event} ON instances
    DEFERRABLE INITIALLY {when} FOR EACH ROW {condition} EXECUTE FUNCTION gate()
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {lock} AND NOT granted"


@contextmanager
def shut(url: str, change: str, *, within: bool = False) -> Iterator[Callable[[], int]]:
    """Keep each commit of a change waiting until left; yields what counts those that wait.

    `within` stops them in the midst of their transaction instead, before they ask for the commit.
    """
    when = "IMMEDIATE" if within else "DEFERRED"
    event, _, condition = change.partition(" ")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
            connection.execute(text(MAKE.format(lock=LOCK, event=event, condition=condition, when=when)))
            try:
                yield lambda: _waiting(connection)
            finally:
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
                connection.execute(text("DROP FUNCTION gate CASCADE"))
    finally:
        engine.dispose()


def _waiting(connection: Connection) -> int:
    number: int = connection.scalar(text(WAITING.format(lock=LOCK)))
    return number
