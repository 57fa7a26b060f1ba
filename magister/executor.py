"""Carry out one action: the intent in one transaction, the call outside any, the result in another."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from magister import ledger, pool, rows
from magister.actions import Adopt, CheckAccount, Destroy, List, Look, Move, Search, Send
from magister.database import Sessions
from magister.errors import (
    RateLimited,
    Stale,
    VastError,
)
from magister.facts import Account, Fleet, Held, Listing, Offer, Stranger
from magister.lease import LeaseHolder
from magister.renting import Renter
from magister.states import LOOP, State
from magister.vast.protocol import Vast


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Tell what came of one call to Vast; only what the call was about is set."""

    action: Send | Destroy | Look | Search | List | CheckAccount
    at: datetime
    error: VastError | None = None
    listing: Listing | None = None
    strangers: tuple[Stranger, ...] = ()
    offers: tuple[Offer, ...] = ()
    account: Account | None = None


class Executor:
    """Do what was planned; decide nothing."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        vast: Vast,
        lease: LeaseHolder,
        fleet: Fleet,
        renter: Renter,
        clock: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._vast = vast
        self._lease = lease
        self._fleet = fleet
        self.renter = renter
        self._clock = clock
        self._market_still = threading.Lock()  # no create goes out between the pages of a listing

    def settle(self, action: Move | Adopt, now: datetime) -> None:
        """Carry out what needs the database only. Raises Stale if the row has moved meanwhile."""
        with self._sessions.write() as session:
            self._lease.require(session, now)
            match action:
                case Move():
                    ledger.move(
                        session, action.row, action.to, action.reason, actor=LOOP, why=action.why, at=now
                    )
                case Adopt():
                    ledger.adopt(session, action, fleet=self._fleet, at=now)
                case _:
                    assert_never(action)

    def call(self, action: Send | Destroy | Look | Search | List | CheckAccount) -> Outcome:
        """Make one call to Vast and write what came of it; a VastError is an outcome, not raised."""
        try:
            match action:
                case Send():
                    with self._market_still:
                        self.renter.send(action.row)
                    return Outcome(action=action, at=self._clock())
                case Destroy():
                    return self._destroy(action)
                case Look():
                    return self._look(action)
                case Search():
                    offers = self._vast.search(action.machines)
                    return Outcome(action=action, at=self._clock(), offers=offers)
                case List():
                    return self._list(action)
                case CheckAccount():
                    return self._check_account(action)
                case _:
                    assert_never(action)
        except VastError as error:
            return Outcome(action=action, at=self._clock(), error=error)

    def hold_back(self, row: Held, error: Exception, now: datetime) -> None:
        """Record an error that concerns one row and leave it alone for a minute."""
        words = ledger.clipped(f"{type(error).__name__}: {error}")
        with self._sessions.write() as session:
            ledger.learn(session, row, trouble=words, due_at=now + timedelta(minutes=1))

    def _destroy(self, action: Destroy) -> Outcome:
        row = self._claim_destroy(action.row)
        try:
            self._vast.destroy(action.contract_id)
        except VastError as error:
            now = self._clock()
            with self._sessions.write() as session:
                ledger.learn(session, row, trouble=ledger.clipped(str(error)), called_at=now)
                if isinstance(error, RateLimited):
                    ledger.learn(session, row, due_at=now)
            raise
        now = self._clock()
        with self._sessions.write() as session:
            ledger.learn(
                session,
                row,
                destroy_acked=True,
                called_at=now,
                judge_from=self._judge_from(row, now),
                trouble=None,
            )
        return Outcome(action=action, at=now)

    def _claim_destroy(self, row: Held) -> Held:
        """Write that the destroy is being asked for; what was seen before it proves nothing any more."""
        now = self._clock()
        waits = self._fleet.destroy_waits
        with self._sessions.write() as session:
            self._lease.require(session, now)
            fresh = rows.one(session, row.id)
            if fresh is None or fresh.state is not State.DROPPING:
                raise Stale(f"instance {row.id} is not to be destroyed any more")
            ledger.learn(
                session,
                fresh,
                destroys=fresh.destroys + 1,
                destroy_acked=False,
                called_at=now,
                due_at=now + waits[min(fresh.destroys, len(waits) - 1)],
                judge_from=self._judge_from(fresh, now),
                absences=0,
                absent_since=None,
                looked_gone_at=None,
            )
        return fresh

    def _judge_from(self, row: Held, now: datetime) -> datetime:
        """Return when absence begins to count: listings may lag behind a box that none has shown yet."""
        if row.first_seen_at is None and row.created_at is not None:
            return max(now, row.created_at + self._fleet.create_grace)
        return now

    def _look(self, action: Look) -> Outcome:
        begun_at = self._clock()
        sighting = self._vast.show(action.contract_id)
        with self._sessions.write() as session:
            fresh = rows.one(session, action.row.id)
            if fresh is not None:
                ledger.note_look(session, fresh, sighting, begun_at, fleet=self._fleet)
        return Outcome(action=action, at=self._clock())

    def _list(self, action: List) -> Outcome:
        with self._market_still:
            listing = self._vast.listing(self._clock())
        with self._sessions.write() as session:
            strangers = ledger.note_listing(session, listing, fleet=self._fleet)
            pool.note_listed(session, listing.begun_at)
        return Outcome(action=action, at=self._clock(), listing=listing, strangers=strangers)

    def _check_account(self, action: CheckAccount) -> Outcome:
        account = self._vast.account()
        with self._sessions.write() as session:
            pool.note_credit(session, account.credit)
        return Outcome(action=action, at=self._clock(), account=account)
