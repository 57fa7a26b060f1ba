"""Begin what a plan asks for, each call in its lane, and take in what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister.control.cache import Memory, fields_of, route_of
from magister.control.executor import Executor, Outcome
from magister.control.lanes import Lanes
from magister.domain.actions import (
    Action,
    Adopt,
    Call,
    CallRoll,
    CheckAccount,
    Destroy,
    List,
    Look,
    Move,
    ReadBill,
    Rent,
    Search,
    Send,
)
from magister.domain.observed import KNOWN_STATUSES, Listing, Route
from magister.errors import DatabaseReplaced, LeaseLost, Stale, Stopping, Transient
from magister.planner.decision_record import Decision
from magister.store.db.engine import DATABASE_TROUBLE

log = structlog.get_logger("magister.worker")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Tell what was begun and what has to wait; `again` = what a plan is made from has changed."""

    begun: tuple[Action, ...]
    deferred: tuple[Action, ...] = ()
    again: bool = False
    lease_lost: bool = False


class Dispatcher:
    """Hold the lanes that calls are made in, and the memory of what they brought."""

    def __init__(
        self,
        *,
        executor: Executor,
        lanes: Lanes,
        wait_secs: Callable[[Route], float],
        wall: Callable[[], datetime],
        backoff: timedelta,
    ) -> None:
        self.memory = Memory()
        self._executor = executor
        self._lanes = lanes
        self._wait_secs = wait_secs
        self._wall = wall
        self._backoff = backoff
        self._era = 0  # grows when what was observed before must not be believed any more
        self._outcomes: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self._strange: set[str] = set()

    def forget(self) -> None:
        """Believe nothing that was observed before, nor what calls under way will still bring."""
        self.memory = Memory()
        self._era += 1

    def dispatch(self, actions: tuple[Action, ...], known: Decision) -> Dispatched:
        """Begin what can begin; once the lease is lost nothing more is."""
        begun: list[Action] = []
        deferred: list[Action] = []
        before = self._outcomes.qsize()
        again = False
        for action in actions:
            try:
                started = self._begin(action, known)
            except Stale:
                again = True
            except LeaseLost:
                return Dispatched(tuple(begun), lease_lost=True)
            except DATABASE_TROUBLE:
                raise
            except Exception as error:
                self._set_aside(action, error)
            else:
                (begun if started else deferred).append(action)
                again = again or (started and isinstance(action, Move | Adopt))
        try:
            self._taken_in(actions, begun, known)
        except LeaseLost:
            return Dispatched(tuple(begun), lease_lost=True)
        return Dispatched(tuple(begun), tuple(deferred), again or self._outcomes.qsize() > before)

    def _taken_in(self, actions: tuple[Action, ...], begun: list[Action], known: Decision) -> None:
        """Let the boxes of the last listing be strangers no more; if all of ours have rows, write that."""
        asked, done = (sum(isinstance(one, Adopt) for one in some) for some in (actions, begun))
        if done:
            self.memory.strangers = ()
        if done and done == asked and known.view.listed_at is not None:
            self._executor.taken_in(known.view.listed_at, known.now)

    def _begin(self, action: Action, known: Decision) -> bool:
        """Carry out what needs the database only; start a call if its route is free."""
        if isinstance(action, Move | Adopt):
            self._executor.settle(action, known.now)
            tell(action)
            return True
        route = route_of(action)
        if self._lanes.busy(route) or self._wait_secs(route) > 0:
            return False
        tell(action)
        call = self._executor.renter.intend(action, known) if isinstance(action, Rent) else action
        era = self._era
        self.memory.asked[route] = known.now
        self._lanes.start(route, lambda: self._carry_out(call, era))
        return True

    def _carry_out(self, call: Call, era: int) -> None:
        """Make a call in its lane; an error nobody thought of is kept with what it was about."""
        try:
            self._outcomes.put((era, self._executor.call(call)))
        except (Stale, LeaseLost, Stopping) as error:
            log.info("call.not_made", why=str(error), **fields_of(call))
        except DATABASE_TROUBLE as error:
            log.warning("call.database_trouble", error=in_a_line(error), **fields_of(call))
        except Exception as error:
            self._set_aside(call, error)
            unexpected = Transient(f"unexpected {type(error).__name__}, see the log")
            self._outcomes.put((era, Outcome(action=call, at=self._wall(), error=unexpected)))

    def _set_aside(self, action: Action, error: Exception) -> None:
        """Record an error that one row, offer or box causes, and go on without it for a while."""
        log.error("action.failed", exc_info=error, **fields_of(action))
        if isinstance(action, Move):  # calls are pushed back by their row
            self.memory.set_aside[action.row.id] = self._wall() + timedelta(minutes=1)
        if isinstance(action, Send | Destroy | Look | Move):
            try:
                self._executor.hold_back(action.row, error, self._wall())
            except DATABASE_TROUBLE as trouble:
                log.warning("call.database_trouble", error=in_a_line(trouble), **fields_of(action))
        elif isinstance(action, Rent | Adopt):
            self.memory.pass_over(action)

    def take_in(self) -> None:
        """Remember what came of the calls that have ended, unless it was forgotten meanwhile."""
        while True:
            try:
                era, outcome = self._outcomes.get_nowait()
            except Empty:
                return
            if outcome.listing is not None:
                self._tell_news(outcome.listing)
            _tell_account(outcome)
            if era == self._era:
                self.memory.take(outcome, backoff=self._backoff)
                if outcome.error is not None:
                    fields = fields_of(outcome.action)
                    log.warning(
                        "call.failed", route=route_of(outcome.action), error=str(outcome.error), **fields
                    )

    def _tell_news(self, listing: Listing) -> None:
        """Log each status that nobody knows, once in the life of the process."""
        statuses = {box.actual_status for box in listing.sightings if box.actual_status is not None}
        for status in sorted(statuses - KNOWN_STATUSES - self._strange):
            log.warning("vast.status_never_seen", status=status, treated_as="unknown")
        self._strange |= statuses - KNOWN_STATUSES


def _tell_account(outcome: Outcome) -> None:
    """Log that there was nothing to speak against taking another account for ours than before."""
    account, found = outcome.account, outcome.recognition
    if account is not None and found is not None and found.ours and account.id not in {None, found.before}:
        log.info("account.taken", account=account.id, before=found.before)


def tell(action: Action) -> None:
    """Log what was begun; mere looks only for whoever wants to see everything."""
    event = f"begun.{type(action).__name__.lower()}"
    tell = (
        log.debug
        if isinstance(action, List | Look | Search | CheckAccount | CallRoll | ReadBill)
        else log.info
    )
    tell(event, why=action.why, **fields_of(action))


def in_a_line(error: SQLAlchemyError | DatabaseReplaced) -> str:
    """Return what the database said, in a line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
