"""The states of an instance, the reasons for a move, the table of moves and the diagram drawn from it."""

from collections.abc import Mapping
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
    BEAT = "beat"  # the box said that its worker lives, though its one call was not heard
    ENROLLED = "enrolled"  # Hierophant lists the worker, though its one call was not heard
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
    SILENT = "silent"  # it used to beat, and does not any more
    FORGOTTEN = "forgotten"  # Hierophant does not list its worker any more
    COORDINATOR = "coordinator"  # DELETE /drop
    OPERATOR = "operator"
    SURPLUS = "surplus"
    BUDGET = "budget"
    VANISHED = "vanished"  # gone from Vast without our asking
    PROVED_GONE = "proved_gone"  # gone from Vast after we asked
    REAPPEARED = "reappeared"
    LEFT_BEHIND = "left_behind"  # on an account that the operator is done with; it may cost there


LOOP = "loop"
"""The actor in the history of a move that the loop made by itself."""

DUDS = frozenset({Reason.UNVERIFIED, Reason.EXITED, Reason.STARTED_STOPPED})
"""Reasons for which a box that never verified counts as a failed rental."""

LOSSES = frozenset({Reason.VANISHED, Reason.EXITED, Reason.OFFLINE, Reason.SILENT, Reason.FORGOTTEN})
"""Reasons for which a verified instance goes although nobody asked for it."""

PROOFS = frozenset({Reason.CALLED, Reason.ENROLLED})
"""Reasons to verify that prove the whole way from Vast to the coordinator; a beat proves a process only."""


class Failure(StrEnum):
    """Name in which way an instance failed.

    If it failed before its worker verified, its machine is in quarantine for that, each way for itself.
    """

    NEVER_BOOTED = "never_booted"
    NEVER_VERIFIED = "never_verified"
    DIED = "died"  # exited or stopped
    SILENT = "silent"  # the box ran on, its worker was heard no more
    OFFLINE = "offline"
    GIVEN_UP = "given_up"  # by the coordinator
    IMAGE_PULL = "image_pull"  # these are told by its logs, or by what Vast says of it
    DRIVER_OCI = "driver_oci"
    DISK_FULL = "disk_full"


BOOT_FAILURES = frozenset(
    {
        Failure.NEVER_BOOTED,
        Failure.NEVER_VERIFIED,
        Failure.IMAGE_PULL,
        Failure.DRIVER_OCI,
        Failure.DISK_FULL,
    }
)
"""Failures of an instance whose worker never verified."""

_FAILURES: dict[Reason, Failure] = {
    Reason.UNVERIFIED: Failure.NEVER_VERIFIED,
    Reason.STARTED_STOPPED: Failure.NEVER_BOOTED,
    Reason.EXITED: Failure.DIED,
    Reason.SILENT: Failure.SILENT,
    Reason.OFFLINE: Failure.OFFLINE,
    Reason.COORDINATOR: Failure.GIVEN_UP,
    Reason.FORGOTTEN: Failure.GIVEN_UP,
}

BLAMELESS: Mapping[Reason, str] = {
    Reason.OPERATOR: "dropped_by_operator",
    Reason.SURPLUS: "dropped_for_cost",
    Reason.BUDGET: "dropped_for_cost",
    Reason.VANISHED: "vanished",
    Reason.LEFT_BEHIND: "dropped_by_operator",
}
"""Under which word an end is counted that speaks against no machine.

A box that vanished may have been taken away by its host, or deleted by a person at Vast's console: Vast does
not say.
"""

FAULTS = frozenset(_FAILURES)
"""Reasons that speak against the machine."""


def failure(old: State | None, reason: Reason) -> Failure | None:
    """Return in which way a box failed that left `old` for `reason`; None = it did not fail."""
    if reason is Reason.EXITED and old is not State.VERIFIED:
        return Failure.NEVER_BOOTED
    return _FAILURES.get(reason)


def legal(old: State | None, new: State) -> bool:
    """Say whether the table of moves allows `old` to become `new`; `old` is None at birth."""
    return new in MOVES[old]


def diagram() -> str:
    """Draw the table of moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for old, news in MOVES.items():
        lines += [f"    {old or '[*]'} --> {new}" for new in State if new in news]
    return "\n".join(lines)
