"""The states of an instance, the reasons for a move, the table of moves and the diagram drawn from it."""

from enum import StrEnum


class State(StrEnum):
    """Name where an instance stands between the intent to rent it and the proof that it is gone."""

    REQUESTED = "requested"  # the intent is committed; Vast may or may not have been asked
    CREATED = "created"  # Vast named a contract, the worker has not called yet
    VERIFIED = "verified"  # the worker called /verify
    DROPPING = "dropping"  # it is to go, and costs until it is proved gone
    DESTROYED = "destroyed"  # proved gone, or proved never to have been


MOVES: dict[State | None, frozenset[State]] = {
    None: frozenset({State.REQUESTED, State.CREATED, State.VERIFIED, State.DROPPING}),
    State.REQUESTED: frozenset({State.CREATED, State.VERIFIED, State.DROPPING, State.DESTROYED}),
    State.CREATED: frozenset({State.VERIFIED, State.DROPPING, State.DESTROYED}),
    State.VERIFIED: frozenset({State.DROPPING, State.DESTROYED}),
    State.DROPPING: frozenset({State.DESTROYED}),
    State.DESTROYED: frozenset({State.DROPPING}),
}

LIVE = frozenset({State.REQUESTED, State.CREATED, State.VERIFIED, State.DROPPING})
WANTED = frozenset({State.REQUESTED, State.CREATED, State.VERIFIED})


class Reason(StrEnum):
    """Name why an instance moved; the sentence beside it in the history says the rest."""

    SHORT = "short"  # fewer instances than the target
    RENTED = "rented"  # Vast answered the create with a contract
    FOUND = "found"  # a listing showed the key of a create whose answer was lost
    CALLED = "called"  # the worker called /verify
    ADOPTED = "adopted"  # ours at Vast, without a row
    RESTORED = "restored"  # a backup was put back: its worker has had the time to call since
    TWIN = "twin"  # a second box under the key of one row
    OFFER_GONE = "offer_gone"
    REFUSED = "refused"
    NO_CREDIT = "no_credit"
    BAD_KEY = "bad_key"
    NEVER_SENT = "never_sent"
    STALE_OFFER = "stale_offer"  # banned, too dear or too old before it could be asked for
    NEVER_TOOK_EFFECT = "never_took_effect"
    STARTED_STOPPED = "started_stopped"  # Vast made the box but did not start it; its disk bills
    UNVERIFIED = "unverified"  # the worker did not call in time
    EXITED = "exited"
    OFFLINE = "offline"
    COORDINATOR = "coordinator"  # DELETE /drop
    OPERATOR = "operator"
    SURPLUS = "surplus"
    VANISHED = "vanished"  # gone from Vast without our asking
    PROVED_GONE = "proved_gone"  # gone from Vast after we asked
    REAPPEARED = "reappeared"


LOOP = "loop"
"""The actor in the history of a move that the loop made by itself."""

DUDS = frozenset({Reason.UNVERIFIED, Reason.EXITED, Reason.STARTED_STOPPED})
"""Reasons for which a box that never verified counts as a failed rental."""

LOSSES = frozenset({Reason.VANISHED, Reason.EXITED, Reason.OFFLINE})
"""Reasons for which a verified instance goes although nobody asked for it."""

FAULTS = frozenset(
    {Reason.UNVERIFIED, Reason.EXITED, Reason.OFFLINE, Reason.COORDINATOR, Reason.STARTED_STOPPED}
)
"""Reasons that speak against the machine: it is tried last until another instance verifies on it."""


def legal(old: State | None, new: State) -> bool:
    """Say whether the table of moves allows `old` to become `new`; `old` is None at birth."""
    return new in MOVES[old]


def diagram() -> str:
    """Draw the table of moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for old, news in MOVES.items():
        lines += [f"    {old or '[*]'} --> {new}" for new in State if new in news]
    return "\n".join(lines)
