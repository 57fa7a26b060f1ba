"""What the database says, and the locks by which a test keeps a service from going on in it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.store.db.engine import Sessions, open_database
from magister.store.db.models import Instance, Lease, Transition
from magister.store.instances import as_held
from tests.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Story:
    """Hold a row and its whole history."""

    row: Held
    steps: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class Tenure:
    """Hold the lease as it was read; `pid` None = nobody ever had it."""

    fence: int
    pid: int | None
    locked: bool
    expires_at: datetime


def drop_path(row: Held) -> str:
    """Return the path of the callback URL by which the coordinator drops an instance."""
    return f"/drop/{row.offer_id}?key={row.callback_key}"


@contextmanager
def an_own_database(server: str) -> Iterator[str]:
    """Make an empty database on a server, and take it away again."""
    name = f"acceptance_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        engine.dispose()


@contextmanager
def an_empty_database(engine: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    """Give the URL of one of an engine's own; skips where no server of PostgreSQL is installed."""
    if engine == "sqlite":
        yield f"sqlite:///{directory}/magister.db"
        return
    with an_own_database(request.getfixturevalue("postgres_url")) as url:
        yield url


def stories(url: str) -> list[Story]:
    """Return every row with its history."""
    with _reading(url) as session:
        history: dict[int, list[Transition]] = {}
        for step in session.scalars(select(Transition).order_by(Transition.id)):
            history.setdefault(step.instance_id, []).append(step)
        rows = session.scalars(select(Instance).order_by(Instance.id))
        return [Story(as_held(row), tuple(history.get(row.id, ()))) for row in rows]


def tenure(url: str) -> Tenure:
    """Return who has the lease, and until when."""
    with _reading(url) as session:
        lease = session.scalars(select(Lease)).one()
        pid = int(lease.holder.split(":")[1]) if lease.holder else None
        return Tenure(lease.fence, pid, lease.locked, lease.expires_at)


def engine_of(url: str) -> str:
    """Name the engine as the table of results does."""
    return make_url(url).get_backend_name()


@contextmanager
def no_writes(url: str) -> Iterator[None]:
    """Keep instances and pool from being written until left; what is read is read all the same."""
    with _opened(url) as sessions, sessions.write() as session:
        session.connection()  # on SQLite that is the lock already
        if engine_of(url) == "postgresql":
            session.execute(text("LOCK TABLE instances, pool IN SHARE ROW EXCLUSIVE MODE"))
        yield


def forget(url: str) -> None:
    """Let go of a database that is looked at no more."""
    _looked_at(url).engine.dispose()
    _looked_at.cache_clear()


@contextmanager
def _opened(url: str) -> Iterator[Sessions]:
    sessions = open_database(url, busy_timeout=PATIENCE)
    try:
        yield sessions
    finally:
        sessions.engine.dispose()


@cache
def _looked_at(url: str) -> Sessions:
    """Return what a database is looked at with again and again: to make an engine takes longer than that."""
    return open_database(url, busy_timeout=PATIENCE)


@contextmanager
def _reading(url: str) -> Iterator[Session]:
    sessions = _looked_at(url)
    try:
        with sessions.read() as session:
            yield session
    finally:
        # the end of a service is to find no other that has its file open, and the next one no old log
        if engine_of(url) == "sqlite":
            sessions.engine.dispose()
