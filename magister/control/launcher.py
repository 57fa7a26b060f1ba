"""Rent one offer: the intent, the claim of its one send, the send, and every answer it may get."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from magister.domain import callback_key
from magister.domain.actions import Rent, Send
from magister.domain.instance import Held, Learned
from magister.domain.observed import Order
from magister.domain.spec import Fleet
from magister.errors import (
    BadKey,
    NoCredit,
    NotSent,
    OfferGone,
    RateLimited,
    Refused,
    Stale,
    StartedStopped,
    Stopping,
    VastError,
)
from magister.money import traffic
from magister.planner.budget import objection
from magister.planner.decision_record import Decision
from magister.states import LOOP, Reason, State
from magister.store import decisions, instances, pool, transitions
from magister.store.accounting.spending import outlay
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder
from magister.vast.protocol import Vast

RETRY_NOT_SENT = timedelta(seconds=5)
"""How soon a create is sent again that provably never left."""

UNCLEAR = 3
"""So many creates in a row without a clear answer are no chance."""

HOLD_CAP = timedelta(seconds=300)
"""The longest time for which refusals keep the loop from renting."""


class Renter:
    """Send creates exactly once each, and never lose what came of one."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        vast: Vast,
        lease: LeaseHolder,
        fleet: Fleet,
        order: Callable[[Held], Order],
        beat_secs: int | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the parts; `beat_secs` is how often what is rented beats, None = it does not."""
        self._sessions = sessions
        self._vast = vast
        self._lease = lease
        self._fleet = fleet
        self._order = order
        self._beat_secs = beat_secs
        self._clock = clock
        self._flying: set[int] = set()

    def intend(self, action: Rent, known: Decision) -> Send:
        """Write the intent to rent with what it was decided by, and return the send that it calls for."""
        now = known.now
        with self._sessions.write() as session:
            self._lease.require(session, now)
            self._require_afforded(session, action, known)
            row = transitions.open_row(
                session,
                action.offer,
                callback_key=self._callback_key(session, action.offer.id),
                actor=LOOP,
                why=action.why,
                at=now,
                owner=pool.owner_id(session),
                template_hash=known.fleet.template_hash,
                traffic_reserve=traffic(known.fleet.budget.traffic_gb, action.offer.inet_down_cost),
            )
            decisions.note(session, row, known)
        return Send(row, action.why)

    def _callback_key(self, session: Session, offer_id: int) -> str:
        """Draw the key that the callback URL of a new instance carries."""
        chance = secrets.token_hex(callback_key.CHANCE_DIGITS // 2)
        return callback_key.make(pool.callback_secret(session), offer_id, chance)

    def _require_afforded(self, session: Session, action: Rent, known: Decision) -> None:
        """Reserve what the new box may cost, within the transaction of its intent; raises Stale if it cannot.

        The plan was made from what stood in the rows before; only what stands there now is sure, and nobody
        else reserves beside it, whatever became of the lease.
        """
        pool.alone(session)
        fleet, now = known.fleet, known.now
        view = replace(known.view, spent=outlay(session, now)) if fleet.budget.counts else known.view
        found = objection(fleet, instances.held(session), view, (action.offer,), now)
        if found is not None:
            raise Stale(found.why)

    def abandoned(self, held: tuple[Held, ...]) -> tuple[Held, ...]:
        """Return the rows that wait for an answer nobody here is waiting for any more."""
        return tuple(row for row in held if row.in_flight and row.id not in self._flying)

    def doubt(self, row: Held, now: datetime) -> bool:
        """Leave a send whose answer was lost to the listings; return False if it has come after all."""
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id)
            if fresh is not None and fresh.in_flight and fresh.sends == row.sends:
                lost = "the answer to the create was lost"
                transitions.doubt(session, fresh, at=now, fleet=self._fleet, trouble=lost)
                return True
        return False

    def send(self, row: Held) -> None:
        """Ask Vast once for the offer of `row` and write what came of it; raises what Vast raised."""
        self._flying.add(row.id)
        try:
            row = self._claim(row)
            self._require_prompt(row)
            contract = self._vast.create(row.offer_id, self._order(row))
            self._write_rented(row, contract)
        except Stopping:
            self._write_not_sent(row, self._clock())
            raise
        except VastError as error:
            self._write_unrented(row, error)
            raise
        finally:
            self._flying.discard(row.id)

    def _claim(self, row: Held) -> Held:
        now = self._clock()
        with self._sessions.write() as session:
            fence = self._lease.require(session, now)
            return transitions.claim_send(session, row, fence=fence, at=now, beat_secs=self._beat_secs)

    def _require_prompt(self, row: Held) -> None:
        """Raise Stale if this process was frozen since the claim: its slot may have been given away."""
        now = self._clock()
        if row.sent_at is None or now - row.sent_at <= self._lease.margin:
            return
        with self._sessions.write() as session:
            transitions.withdraw_claim(session, row, judge_from=now + self._fleet.create_grace, at=now)
        raise Stale("this process stood still between the claim and the send, so nothing was sent")

    def _write_rented(self, row: Held, contract: int) -> None:
        """Take Vast's answer into the row, whatever has become of the row meanwhile."""
        now = self._clock()
        with self._sessions.write() as session:
            fresh = self._learn_contract(session, row, contract, now)
            if fresh is not None and fresh.state is State.REQUESTED:
                why = f"Vast answered with contract {contract}"
                transitions.move(session, fresh, State.CREATED, Reason.RENTED, actor=LOOP, why=why, at=now)
            # last, for a listing locks rows before the pool as well
            pool.hold_renting(session, until=None, refusals=0)

    def _learn_contract(self, session: Session, row: Held, contract: int, now: datetime) -> Held | None:
        """Learn the contract of a send; None = a listing found another box under the key already."""
        fresh = instances.one(session, row.id)
        if fresh is None or fresh.contract_id not in {None, contract}:
            pool.ask_for_listing(session, now)
            return None
        learned = Learned(contract_id=contract, unanswered=0, trouble=None)
        if fresh.contract_id is None:
            learned["judge_from"] = now + self._fleet.create_grace
            learned["created_at"] = now
            learned["verify_by"] = now + self._fleet.verify_within
        if fresh.state in {State.DROPPING, State.DESTROYED}:
            learned["due_at"] = now
        transitions.learn(session, fresh, **learned)
        return instances.one(session, row.id)

    def _write_unrented(self, row: Held, error: VastError) -> None:
        now = self._clock()
        match error:
            case StartedStopped():
                self._write_stopped(row, error, now)
            case NotSent():
                self._write_not_sent(row, now + RETRY_NOT_SENT)
            case RateLimited():
                self._write_not_sent(row, now)
            case Refused() | BadKey():
                self._write_refused(row, error, now)
            case _:  # ambiguous, or anything else that does not say what happened
                with self._sessions.write() as session:
                    self._write_doubt(session, instances.one(session, row.id) or row, error, now)
                    self._hold_unclear(session, now)

    def _write_stopped(self, row: Held, error: StartedStopped, now: datetime) -> None:
        with self._sessions.write() as session:
            fresh = self._learn_contract(session, row, error.contract_id, now)
            if fresh is not None and fresh.wanted:
                transitions.move(
                    session,
                    fresh,
                    State.DROPPING,
                    Reason.STARTED_STOPPED,
                    actor=LOOP,
                    why=str(error),
                    at=now,
                )

    def _write_not_sent(self, row: Held, due_at: datetime) -> None:
        """Free the claim of a send that was not carried out; should it have been, listings still tell."""
        now = self._clock()
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id)
            if fresh is not None and fresh.contract_id is None:
                judge_from = now + self._fleet.create_grace
                transitions.learn(session, fresh, unanswered=0, judge_from=judge_from)
                if fresh.live:
                    transitions.learn(session, fresh, due_at=due_at)

    def _write_refused(self, row: Held, error: VastError, now: datetime) -> None:
        """End a row that Vast refused, unless an earlier send or the worker says that a box may exist."""
        with self._sessions.write() as session:
            fresh = instances.one(session, row.id)
            if fresh is None:
                return
            first = fresh.sends == 1 and fresh.verified_at is None and fresh.contract_id is None
            if fresh.state is State.REQUESTED and first:
                transitions.learn(session, fresh, unanswered=0, trouble=str(error))
                reason, why = _refusal(error), str(error)
                transitions.move(session, fresh, State.DESTROYED, reason, actor=LOOP, why=why, at=now)
            else:
                self._write_doubt(session, fresh, error, now)
            self._hold_renting(session, error, now)

    def _hold_renting(self, session: Session, error: VastError, now: datetime) -> None:
        """Wait longer with each refusal that the next offer would meet as well."""
        if isinstance(error, OfferGone):
            return
        refusals = pool.read(session).rent_refusals + 1
        first = timedelta(seconds=60 if isinstance(error, NoCredit | BadKey) else 5)
        hold = min(first * 2 ** min(refusals - 1, 10), HOLD_CAP)
        pool.hold_renting(session, until=now + hold, refusals=refusals)

    def _hold_unclear(self, session: Session, now: datetime) -> None:
        """Wait longer with each create in a row without a clear answer; the first two may be chance."""
        unclear = pool.read(session).rent_refusals + 1
        waits = timedelta(seconds=5) * 2 ** min(unclear - UNCLEAR, 10)
        until = now + min(waits, HOLD_CAP) if unclear >= UNCLEAR else None
        pool.hold_renting(session, until=until, refusals=unclear)

    def _write_doubt(self, session: Session, row: Held, error: VastError, now: datetime) -> None:
        """Leave a send to the listings, unless one has named its box already."""
        if row.contract_id is None:
            transitions.doubt(session, row, at=now, fleet=self._fleet, trouble=str(error))


def _refusal(error: VastError) -> Reason:
    match error:
        case OfferGone():
            return Reason.OFFER_GONE
        case NoCredit():
            return Reason.NO_CREDIT
        case BadKey():
            return Reason.BAD_KEY
        case _:
            return Reason.REFUSED
