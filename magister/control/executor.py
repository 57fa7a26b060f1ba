"""Carry out one action: the intent in one transaction, the call outside any, the result in another."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from magister.control.launcher import Renter
from magister.domain.actions import (
    Adopt,
    Autopsy,
    Call,
    CallRoll,
    CheckAccount,
    Destroy,
    List,
    Look,
    Move,
    ReadBill,
    Search,
    Send,
)
from magister.domain.instance import Held, Learned
from magister.domain.observed import Account, Foreign, Listing, Offer, Stranger
from magister.domain.risk import failure_logs
from magister.domain.spec import Fleet
from magister.errors import RateLimited, Stale, Transient, Unreachable, VastError
from magister.hierophant.protocol import Hierophant
from magister.planner.adoption import adoptable
from magister.planner.ranking import as_of, unfit
from magister.states import LOOP, Reason, State
from magister.store import account as identity
from magister.store import bans, instances, observations, pool, transitions
from magister.store.account import Recognition
from magister.store.accounting import invoice, traffic_reserve
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder
from magister.vast.protocol import Vast


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Tell what came of one call; only what the call was about is set."""

    action: Call
    at: datetime
    error: VastError | Unreachable | None = None
    listing: Listing | None = None
    strangers: tuple[Stranger, ...] = ()
    foreign: tuple[Foreign, ...] = ()  # what another Magister rented
    offers: tuple[Offer, ...] = ()
    account: Account | None = None
    recognition: Recognition | None = None  # of that account
    begun_at: datetime | None = None  # when the account was asked that answered


class Executor:
    """Do what was planned; decide nothing."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        vast: Vast,
        hierophant: Hierophant,
        lease: LeaseHolder,
        fleet: Fleet,
        renter: Renter,
        clock: Callable[[], datetime],
        offer_reuse: timedelta = timedelta(days=1),
        mask: Callable[[str], str] = str,
        market_still: AbstractContextManager[object] | None = None,
    ) -> None:
        """Take the parts; `mask` takes the secrets that are known out of a text.

        `market_still` keeps creates and listings apart; None = a lock of its own.
        """
        self._sessions = sessions
        self._vast = vast
        self._hierophant = hierophant
        self._lease = lease
        self._fleet = fleet
        self.renter = renter
        self._clock = clock
        self._offer_reuse = offer_reuse
        self._mask = mask
        self._market_still = market_still or threading.Lock()  # no create between the pages of a listing

    def settle(self, action: Move | Adopt, now: datetime) -> None:
        """Carry out what needs the database only. Raises Stale if the row has moved meanwhile."""
        with self._sessions.write() as session:
            self._lease.require(session, now)
            match action:
                case Move():
                    learned = Learned() if action.excuses_since is None else Learned(excused=True)
                    if action.over_cap is not None:
                        learned |= Learned(over_cap=action.over_cap, over_limit=action.over_limit)
                    transitions.move(
                        session,
                        action.row,
                        action.to,
                        action.reason,
                        actor=LOOP,
                        why=action.why,
                        at=now,
                        rests_on=action.rests_on,
                        **learned,
                    )
                    if action.to is State.CREATED:  # a create that was in doubt took effect
                        pool.hold_renting(session, until=None, refusals=0)
                    if action.excuses_since is not None:
                        transitions.excuse_losses(session, since=action.excuses_since)
                case Adopt():
                    transitions.adopt(session, action, fleet=self._fleet, at=now)
                case _:
                    assert_never(action)

    def taken_in(self, listed_at: datetime, now: datetime) -> None:
        """Write that each box of ours in the listing that began at `listed_at` has its row by now."""
        with self._sessions.write() as session:
            self._lease.require(session, now)
            pool.note_listed(session, listed_at)

    def call(self, action: Call) -> Outcome:
        """Make one call and write what came of it; a VastError or Unreachable is an outcome, not raised."""
        try:
            match action:
                case Send():
                    with self._market_still:
                        self.renter.send(action.row)
                    return Outcome(action=action, at=self._clock())
                case Destroy():
                    return self._destroy(action)
                case Autopsy():
                    return self._autopsy(action)
                case Look():
                    return self._look(action)
                case Search():
                    return self._search(action)
                case List():
                    return self._list(action)
                case CheckAccount():
                    return self._check_account(action)
                case CallRoll():
                    return self._call_roll(action)
                case ReadBill():
                    return self._read_bill(action)
                case _:
                    assert_never(action)
        except (VastError, Unreachable) as error:
            return Outcome(action=action, at=self._clock(), error=error)

    def hold_back(self, row: Held, error: Exception, now: datetime) -> None:
        """Record an error that concerns one row, and push its next call back by a minute."""
        words = f"unexpected {type(error).__name__}, see the log"
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id)
            if fresh is None:
                return
            transitions.learn(session, fresh, trouble=words)
            if fresh.live:
                transitions.learn(session, fresh, due_at=now + timedelta(minutes=1))

    def _destroy(self, action: Destroy) -> Outcome:
        row = self._claim_destroy(action.row)
        try:
            self._vast.destroy(action.contract_id)
        except VastError as error:
            self._write_undestroyed(row, error, self._clock())
            raise
        now = self._clock()
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id) or row  # a listing may have seen it meanwhile
            transitions.learn(
                session,
                fresh,
                destroy_acked=True,
                called_at=now,
                judge_from=self._judge_from(fresh, now),
                trouble=None,
            )
            if fresh.state is State.DROPPING:
                transitions.learn(session, fresh, due_at=now + self._fleet.destroy_waits[-1])
        return Outcome(action=action, at=now)

    def _autopsy(self, action: Autopsy) -> Outcome:
        """Ask for the logs of a box, once: whatever comes of it, the destroy waits for it no longer."""
        said: str | None = None
        try:
            secs = (action.until - self._clock()).total_seconds()
            if secs > 0:
                said = self._vast.logs(action.contract_id, within=secs)
        finally:
            self._note_logs(action.row, said, self._clock())
        return Outcome(action=action, at=self._clock())

    def _note_logs(self, row: Held, said: str | None, now: datetime) -> None:
        learned = Learned(autopsy_at=now)
        with self._sessions.write() as session:
            if said is not None:
                known = instances.failure_of(session, row.id)
                found = failure_logs.findings(said, known, self._mask)
                learned |= Learned(autopsy=found.words, failure=found.failure)
            transitions.learn(session, row, **learned)

    def _write_undestroyed(self, row: Held, error: VastError, now: datetime) -> None:
        """Make the next call due: after the wait, or when the route opens if this one was not carried out."""
        wait = timedelta() if isinstance(error, RateLimited) else self._fleet.destroy_wait(row.destroys + 1)
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id)
            if fresh is not None and fresh.state is State.DROPPING:
                words = transitions.clipped(str(error))
                transitions.learn(session, fresh, trouble=words, called_at=now, due_at=now + wait)

    def _claim_destroy(self, row: Held) -> Held:
        """Write that the destroy is being asked for; what was seen before it proves nothing any more."""
        now = self._clock()
        with self._sessions.write() as session:
            self._lease.require(session, now)
            fresh = instances.one(session, row.id)
            if fresh is None or fresh.state is not State.DROPPING:
                raise Stale(f"instance {row.id} is not to be destroyed any more")
            transitions.learn(
                session,
                fresh,
                destroys=fresh.destroys + 1,
                destroy_acked=False,
                called_at=now,
                due_at=now + self._fleet.destroy_wait(fresh.destroys + 1),
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
        with self._sessions.write() as session:
            transitions.learn(session, action.row, looked_at=begun_at)
        sighting = self._vast.show(action.contract_id)
        self._require_past(begun_at)
        with self._sessions.write() as session:
            fresh = instances.one(session, action.row.id)
            if fresh is not None:
                observations.note_look(session, fresh, sighting, begun_at, fleet=self._fleet)
        return Outcome(action=action, at=self._clock())

    def _require_past(self, begun_at: datetime) -> None:
        """Raise Transient if the clock was set back meanwhile: what was seen would be yet to come."""
        if self._clock() < begun_at:
            raise Transient("the clock was set back before the answer came")

    def _list(self, action: List) -> Outcome:
        with self._sessions.read() as session:
            wish = pool.read(session).listing_wanted_at
        with self._market_still:
            listing = self._vast.listing(self._clock())
        self._require_past(listing.begun_at)
        with self._sessions.write() as session:
            identity.require_ours(session, listing, action.account, ours=action.ours, fleet=self._fleet)
            unknown = observations.note_listing(session, listing, fleet=self._fleet)
            strangers, foreign = observations.told_apart(session, unknown, fleet=self._fleet)
            pool.note_answered(session, wish)
            if not any(adoptable(stranger, self._fleet) for stranger in strangers):
                pool.note_listed(session, listing.begun_at)
        return Outcome(action=action, at=self._clock(), listing=listing, strangers=strangers, foreign=foreign)

    def _search(self, action: Search) -> Outcome:
        """Ask for more machines than those whose offers cannot be taken, however cheap these are."""
        now = self._clock()
        with self._sessions.read() as session:
            fleet = bans.under(self._fleet, bans.read(session))
            recent = instances.recent_offers(session, now, self._offer_reuse)

        def counts(offer: Offer) -> bool:
            tried_last = action.tried_last.of(offer.machine_id, offer.host_id) is not None
            return offer.id not in recent and not tried_last and unfit(as_of(offer, now), fleet) is None

        offers = tuple(as_of(offer, now) for offer in self._vast.search(action.machines, counts))
        return Outcome(action=action, at=self._clock(), offers=offers)

    def _call_roll(self, action: CallRoll) -> Outcome:
        called = self._hierophant.roster()
        self._require_past(called.begun_at)
        with self._sessions.write() as session:
            observations.note_roster(session, called)
            pool.note_roster(session, called.begun_at)
        return Outcome(action=action, at=self._clock())

    def _read_bill(self, action: ReadBill) -> Outcome:
        """Write the charges of each day as they come: a day is written whole or not at all."""
        for day in action.days:
            charges = self._vast.charges(day)
            with self._sessions.write() as session:
                invoice.note(session, day, charges, tag=self._fleet.label_tag, at=self._clock())
        now = self._clock()
        with self._sessions.write() as session:
            traffic_reserve.settle(session, action.days, reread=self._fleet.bills_reread)
            pool.note_bills(session, now)
        return Outcome(action=action, at=now)

    def _check_account(self, action: CheckAccount) -> Outcome:
        begun_at = self._clock()
        account = self._vast.account()
        now = self._clock()
        with self._sessions.write() as session:
            self._lease.require(session, now)  # of two hosts with different keys, only one has a say
            found = identity.recognise(session, account.id)
            if found.ours:
                before = pool.read(session)
                pool.note_credit(session, account.credit)
                if _came_back(before, account.credit) and instances.last_refusal(session) is Reason.NO_CREDIT:
                    pool.hold_renting(session, until=None, refusals=before.rent_refusals)
                if account.credit is not None and account.credit <= 0:
                    transitions.excuse_waiting(
                        session
                    )  # Vast stops their boxes before their workers can call
        return Outcome(action=action, at=now, account=account, begun_at=begun_at, recognition=found)


def _came_back(before: pool.PoolState, credit: int | None) -> bool:
    """Say whether a reading ends a hold for lack of credit: it is above zero, and grew or is the first.

    Where Vast refuses all the same, as at a spending limit, the next reading says nothing new.
    """
    if credit is None or credit <= 0:
        return False
    return before.credit is None or credit > before.credit or before.rent_refusals <= 1
