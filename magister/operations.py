"""What workers and the coordinator may ask of one instance: verify it, drop it."""

import hmac
import unicodedata
from collections.abc import Callable
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy.orm import Session

from magister import ledger, onstart, pool, rows
from magister.errors import InstanceEnded, Stale, TooEarly, UnknownInstance, WrongKey
from magister.held import Held
from magister.states import Reason, State

NO_REASON = "the coordinator gave no reason"
WHY_LIMIT = 1024
"""Characters kept of the reason that comes with a drop."""

TRIES = 5
"""How often a row that moves meanwhile is looked at again."""


def verify(
    session: Session,
    offer_id: int,
    *,
    mac: str | None,
    token: SecretStr | None,
    now: datetime,
    beat: bool = False,
    actor: str = "worker",
) -> Held:
    """Note that the worker of an offer's instance runs, and return the instance; again is harmless.

    `mac` is the key in the URL, None = there was none; `beat` = the box itself says so, which it repeats
    as long as its worker lives, while the worker calls once. Raises UnknownInstance, WrongKey, or
    InstanceEnded for one that is to go or gone; the last also asks for a listing, because a box may be
    running that should not: commit that although it raises.
    """

    def attempt() -> Held:
        row = find(session, offer_id, mac=mac, token=token)
        if row.contract_id is None and row.absences:  # it exists, whatever the listings say that lack it
            ledger.learn(session, row, absences=0, absent_since=None)
        if not row.wanted:  # the pool after its rows, as a listing does, or the two lock each other out
            pool.ask_for_listing(session, now)
        if current(row).state is not State.VERIFIED:
            reason = Reason.BEAT if beat else Reason.CALLED
            why = "its box says that its worker lives" if beat else "its worker called /verify"
            row = _moved(session, row, State.VERIFIED, reason, actor=actor, why=why, at=now)
        if beat:
            ledger.hear(session, row, at=now)
        return row

    return _until_settled(session, attempt)


def announce(
    session: Session, offer_id: int, *, mac: str | None, token: SecretStr | None, now: datetime
) -> Held:
    """Note that the heartbeat loop of an offer's instance runs, which verifies nothing; return the instance.

    From then on silence counts, as soon as it is verified. Raises what `verify` raises.
    """
    row = current(find(session, offer_id, mac=mac, token=token))
    if row.announced_at is None:
        ledger.learn(session, row, announced_at=now)
    if row.contract_id is None and row.absences:  # it exists, whatever the listings say that lack it
        ledger.learn(session, row, absences=0, absent_since=None)
    return row


def drop(
    session: Session,
    offer_id: int,
    *,
    mac: str | None,
    token: SecretStr | None,
    why: str,
    now: datetime,
    actor: str = "coordinator",
) -> Held:
    """Let an offer's instance go, and return it; one that is to go or gone already is left as it is.

    `mac` is the key in the URL, None = there was none; `why` is any text. Raises UnknownInstance or
    WrongKey.
    """

    def attempt() -> Held:
        row = find(session, offer_id, mac=mac, token=token)
        if not row.wanted:
            return row
        said = legible(why) or NO_REASON
        return _moved(session, row, State.DROPPING, Reason.COORDINATOR, actor=actor, why=said, at=now)

    return _until_settled(session, attempt)


def find(session: Session, offer_id: int, *, mac: str | None, token: SecretStr | None) -> Held:
    """Return the instance that a request for an offer means, in whatever state it is.

    With a mac it is the one whose mac that is and no other, without one the newest that took effect.
    Raises UnknownInstance if there is none, WrongKey if the mac is missing where required or nobody's. Until
    each box of ours in a complete listing has its row, a box may be meant that has none yet: then it raises
    TooEarly, a kind of UnknownInstance, also where only an earlier instance on the offer is known.
    """
    # a row that was never sent has no box, so nobody can call about it
    found = [row for row in rows.by_offer(session, offer_id) if row.sends or row.contract_id is not None]
    if not any(row.live for row in found) and pool.read(session).listed_at is None:
        raise TooEarly
    if not found:
        raise UnknownInstance(f"no instance of ours was rented on offer {offer_id}")
    if (mac or found[0].mac_required) and token is None:
        raise WrongKey("api_token is unset, so no key can be checked: set it to what it was")
    if mac and token is not None:
        return _signed(found, mac, token)
    if found[0].mac_required:
        raise WrongKey(f"the instance on offer {offer_id} can only be asked for with its key")
    return found[0]


def current(row: Held) -> Held:
    """Return `row` if it is neither on its way out nor gone, else raise InstanceEnded."""
    if not row.wanted:
        raise InstanceEnded(f"the instance on offer {row.offer_id} is {row.state}: {row.reason}")
    return row


def legible(text: str) -> str:
    """Return `text` in one line of at most WHY_LIMIT characters, without control characters."""
    line = " ".join(text.split())
    return "".join(char for char in line if not unicodedata.category(char).startswith("C"))[
        :WHY_LIMIT
    ].strip()


def _signed(found: list[Held], mac: str, token: SecretStr) -> Held:
    given = mac.encode(errors="replace")  # compare_digest takes a str only if it is ASCII
    for row in found:
        if hmac.compare_digest(onstart.mac(token, row.key).encode(), given):
            return row
    raise WrongKey(f"the key is of no instance on offer {found[0].offer_id}")


def _moved(
    session: Session, row: Held, to: State, reason: Reason, *, actor: str, why: str, at: datetime
) -> Held:
    ledger.move(session, row, to, reason, actor=actor, why=why, at=at)
    moved = rows.one(session, row.id)
    if moved is None:
        raise Stale(f"instance {row.id} is gone")
    return moved


def _until_settled(session: Session, attempt: Callable[[], Held]) -> Held:
    """Make `attempt` again when the row moved between the look and the move; raises Stale in the end."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except Stale:
            session.expire_all()  # else the session would show the row as it was at the first look
    return attempt()
