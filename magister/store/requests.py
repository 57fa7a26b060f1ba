"""What workers and the coordinator may ask of one instance: verify it, drop it."""

import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from magister.domain import callback_key
from magister.domain.instance import Held
from magister.errors import InstanceEnded, Stale, TooEarly, UnknownInstance, WrongKey
from magister.states import Reason, State
from magister.store import instances, pool, transitions

T = TypeVar("T")

NO_REASON = "the coordinator gave no reason"
WHY_LIMIT = 1024
"""Characters kept of the reason that comes with a drop."""

TRIES = 5
"""How often a row that moves meanwhile is looked at again."""


def verify(
    session: Session,
    offer_id: int,
    *,
    key: str | None,
    now: datetime,
    open_callbacks: bool = False,
    beat: bool = False,
    actor: str = "worker",
) -> Held:
    """Note that the worker of an offer's instance runs, and return the instance; again is harmless.

    `key` is the callback key in the URL, None = there was none; `beat` = the box itself says so, which it
    repeats as long as its worker lives, while the worker calls once. Raises UnknownInstance, WrongKey, or
    InstanceEnded for one that is to go or gone; the last also asks for a listing, because a box may be
    running that should not: commit that although it raises.
    """

    def attempt() -> Held:
        row = find(session, offer_id, key=key, open_callbacks=open_callbacks)
        if row.contract_id is None and row.absences:  # it exists, whatever the listings say that lack it
            transitions.learn(session, row, absences=0, absent_since=None)
        if not row.wanted:  # the pool after its rows, as a listing does, or the two lock each other out
            pool.ask_for_listing(session, now)
        if current(row).state is not State.VERIFIED:
            reason = Reason.BEAT if beat else Reason.CALLED
            why = "its box says that its worker lives" if beat else "its worker called /verify"
            row = _moved(session, row, State.VERIFIED, reason, actor=actor, why=why, at=now)
        if beat:
            transitions.hear(session, row, at=now)
        return row

    return _until_settled(session, attempt)


def announce(
    session: Session, offer_id: int, *, key: str | None, now: datetime, open_callbacks: bool = False
) -> Held:
    """Note that the heartbeat loop of an offer's instance runs, which verifies nothing; return the instance.

    From then on silence counts, as soon as it is verified. Raises what `verify` raises.
    """
    row = current(find(session, offer_id, key=key, open_callbacks=open_callbacks))
    if row.announced_at is None:
        transitions.learn(session, row, announced_at=now)
    if row.contract_id is None and row.absences:  # it exists, whatever the listings say that lack it
        transitions.learn(session, row, absences=0, absent_since=None)
    return row


def drop(
    session: Session,
    offer_id: int,
    *,
    key: str | None,
    why: str,
    now: datetime,
    open_callbacks: bool = False,
    actor: str = "coordinator",
) -> Held:
    """Let an offer's instance go, and return it; one that is to go or gone already is left as it is.

    `key` is the callback key in the URL, None = there was none; `why` is any text. Raises UnknownInstance
    or WrongKey.
    """

    def attempt() -> Held:
        row = find(session, offer_id, key=key, open_callbacks=open_callbacks)
        if not row.wanted:
            return row
        said = legible(why) or NO_REASON
        return _moved(session, row, State.DROPPING, Reason.COORDINATOR, actor=actor, why=said, at=now)

    return _until_settled(session, attempt)


def drop_row(session: Session, row_id: int, *, why: str, now: datetime, actor: str) -> tuple[Held, bool]:
    """Let one row go by the word of a person; return it, and whether it was not going or gone before.

    Raises UnknownInstance if there is no such row.
    """

    def attempt() -> tuple[Held, bool]:
        row = instances.one(session, row_id)
        if row is None:
            raise UnknownInstance(f"there is no instance {row_id}")
        if not row.wanted:
            return row, False
        return _moved(session, row, State.DROPPING, Reason.OPERATOR, actor=actor, why=why, at=now), True

    return _until_settled(session, attempt)


def find(session: Session, offer_id: int, *, key: str | None, open_callbacks: bool = False) -> Held:
    """Return the instance that a request for an offer means, in whatever state it is.

    1. With a callback key it is the one that has this key, and no other.
    2. Without one it is the newest live one whose URL has no key, else the newest of all if that has none.
    3. With `open_callbacks` the newest of all is meant by a request without a key, also one with a key.

    Raises UnknownInstance if nothing of ours was rented on the offer, else WrongKey. Until each instance of
    ours in a complete listing has its row, one may be meant that has none yet: then it raises TooEarly, a
    kind of UnknownInstance.
    """
    # a row that was never sent has no instance, so nobody can call about it
    found = [row for row in instances.by_offer(session, offer_id) if row.sends or row.contract_id is not None]
    meant = _with_key(found, key) if key else _without_key(found, open_callbacks=open_callbacks)
    if meant is not None and (key or meant.live):
        return meant
    if (key or not any(row.live for row in found)) and pool.read(session).listed_at is None:
        raise TooEarly
    if meant is not None:
        return meant
    if not found:
        raise UnknownInstance(f"no instance of ours was rented on offer {offer_id}")
    raise WrongKey(_refusal(found, key))


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


def _with_key(found: list[Held], key: str) -> Held | None:
    kept = ((row, row.callback_key) for row in found)
    return next((row for row, its in kept if its is not None and callback_key.same(its, key)), None)


def _without_key(found: list[Held], *, open_callbacks: bool) -> Held | None:
    if open_callbacks:
        return found[0] if found else None
    live = next((row for row in found if row.live and row.keyless), None)
    return live or next((row for row in found[:1] if row.keyless), None)


def _refusal(found: list[Held], key: str | None) -> str:
    """Say why a call is refused, and what a person can do instead."""
    offer_id = found[0].offer_id
    instead = f"to drop one by hand: magister drop offer:{offer_id}"
    if any(row.mac_required and row.callback_key is None for row in found):
        return (
            f"the callback key of the instance on offer {offer_id} is not known: it was rented under an "
            f"api_token; set that again and restart, or {instead}"
        )
    if key:
        return f"the key is of no instance on offer {offer_id}; {instead}"
    return f"the instance on offer {offer_id} can only be asked for with its callback key; {instead}"


def _moved(
    session: Session, row: Held, to: State, reason: Reason, *, actor: str, why: str, at: datetime
) -> Held:
    transitions.move(session, row, to, reason, actor=actor, why=why, at=at)
    moved = instances.one(session, row.id)
    if moved is None:
        raise Stale(f"instance {row.id} is gone")
    return moved


def _until_settled(session: Session, attempt: Callable[[], T]) -> T:
    """Make `attempt` again when the row moved between the look and the move; raises Stale in the end."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except Stale:
            session.expire_all()  # else the session would show the row as it was at the first look
    return attempt()
