"""The secret that signs callback keys is made once for a database."""

from concurrent.futures import ThreadPoolExecutor

from magister.store import pool
from magister.store.db.engine import Sessions


def secret(sessions: Sessions) -> str:
    with sessions.write() as session:
        return pool.callback_secret(session)


def test_of_many_who_ask_at_once_the_first_makes_it_for_all(sessions: Sessions) -> None:
    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(lambda _: secret(sessions), range(6)))
    assert len(found) == 1
    assert len(found.pop()) == 64
