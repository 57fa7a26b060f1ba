"""PostgreSQL for several hosts: its engine, and connections that give up on a server that falls silent.

A firewall that drops packets, or a proxy that passes nothing on, ends no connection: the driver would wait
for ever. The server answers every statement within its own time limit, be it with an error. So one that has
said nothing for longer than that is not there, and the connection to it is of no more use.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait
from sqlalchemy import Engine, create_engine, event

RV = TypeVar("RV")

TICK = 0.1
"""Seconds between two looks at whether the server has been silent for too long."""

ON_ITS_WAY = 1.0
"""Seconds that an answer given at the end of the time limit may take to come."""

CONNECT_SECS = 10
"""Seconds that a connection may take to be made, at most; libpq knows no less than 2."""


class Connection(psycopg.Connection[TupleRow]):
    """Wait for answers, but not for ever: `patience` is in seconds of silence."""

    patience = 60.0

    def wait(self, gen: PQGen[RV], interval: float = TICK, timeout: float | None = None) -> RV:
        """Return what `gen` comes to. After a long silence it closes itself and raises OperationalError."""
        return super().wait(self._heard(gen), interval, timeout)

    def _heard(self, gen: PQGen[RV]) -> Generator[Wait, Ready | int, RV]:
        """Pass on what `gen` waits for; the driver resumes it at each tick, also when there is nothing."""
        since = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    since = time.monotonic()
                elif time.monotonic() - since >= self.patience:
                    self.close()
                    raise psycopg.OperationalError(f"the server has said nothing for {self.patience:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result


def postgresql_engine(url: str, *, busy_timeout: float) -> Engine:
    """Return an engine whose statements wait `busy_timeout` seconds at most; nothing is connected yet.

    Raises ModuleNotFoundError if a part of the driver is missing.
    """
    wait = int(busy_timeout * 1000)
    frozen = min(wait // 2, 10_000)  # a process stopped within a transaction keeps its locks no longer
    patience = busy_timeout + ON_ITS_WAY
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        connect_args={
            "connect_timeout": min(max(int(busy_timeout * 0.6), 2), CONNECT_SECS),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(patience * 1000),
            "options": f"-c lock_timeout={wait} -c statement_timeout={wait} "
            f"-c idle_in_transaction_session_timeout={frozen} -c timezone=UTC",
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: object, record: object, arguments: tuple[str, ...], options: dict[str, Any]
    ) -> Connection:
        connection = Connection.connect(*arguments, **options)
        connection.patience = patience
        return connection

    return engine
