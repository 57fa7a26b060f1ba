"""A pool whose instances send heartbeats for as long as a test says."""

from datetime import timedelta

from magister.states import Reason, State
from magister.store import instances, pool, requests, transitions
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, an_offer
from tests.controller import Controller

TARGET = 6


class Beating:
    """A full pool whose instances beat as long as the test says, `every` so many seconds as rented."""

    def __init__(
        self,
        sessions: Sessions,
        target: int = TARGET,
        *,
        every: int | None = None,
        timeout: timedelta = timedelta(seconds=300),
    ) -> None:
        self.every, self.timeout, self.seconds = every, timeout, 0
        # the web side signs more often than it may be deaf, which is for a fifth of the timeout
        self.period = 30 if timeout >= timedelta(seconds=300) else 10
        self.pool = Controller(sessions, fleet=a_fleet(target=target, beat_timeout=timeout), steady=True)
        self.pool.vast.stock(an_offer() for _ in range(60))
        self.pool.filled()
        self.alive = {row.id for row in self.pool.rows(State.VERIFIED)}
        self.run(120)

    def run(self, seconds: float, *, listening: bool = True) -> None:
        """Let every box whose worker lives beat each half minute, while the web side listens or does not."""
        left = int(seconds)
        while left >= 10:
            period = min(self.period - self.seconds % self.period, left)
            self.pool.listens = listening
            if listening:
                self._listen(beats=self.seconds % 30 == 0)
            self.pool.run(period, every=period)
            self.seconds += period
            left -= period

    def _listen(self, *, beats: bool) -> None:
        now = self.pool.clock.now
        with self.pool.sessions.write() as session:
            pool.note_hearing(session, now, deaf_after=pool.deaf_after(self.timeout))
            for row in instances.held(session):
                if self.every is not None and row.sends:  # as it was rented with
                    transitions.learn(session, row, beat_secs=self.every)
                if beats and row.id in self.alive and row.wanted:
                    requests.verify(session, row.offer_id, key=row.callback_key, now=now, beat=True)

    def given_up(self) -> dict[int, Reason]:
        """Return the instances that were given up, and why."""
        gone = self.pool.rows(State.DROPPING, State.DESTROYED)
        return {
            row.id: reason for row in gone for to, reason in self.pool.story(row.id) if to is State.DROPPING
        }
