"""A second service with the same settings and a database of its own, as a copied `.env` makes one."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from magister.web import liveness
from tests.simulation.database import MortalSessions, in_memory
from tests.simulation.service import Grip, OneLock, Service

EVERY = 10.0
"""Seconds between two of its steps."""


@dataclass(slots=True)
class Rival:
    """Step a service that workers cannot call, since its address is another one's."""

    service: Service
    next_at: float = 0.0

    def step(self) -> None:
        """Let its web side say that it hears, and its loop do what is to be done."""
        self.next_at = self.service.time.now + EVERY
        liveness.sign(self.service.sessions, self.service.time.wall)
        with suppress(SQLAlchemyError):
            self.service.step()


def a_rival(like: Service) -> Rival:
    """Return a service as `like`, on an empty database."""
    return Rival(
        Service(
            settings=like.settings,
            sessions=MortalSessions(in_memory().engine),
            time=like.time,
            journal=like.journal,
            between=like.between,
            begun=like.begun,
            lock=Grip(OneLock()),
        )
    )
