"""What a plan may ask for: one frozen value for each kind of effect, each with its why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from magister.domain.instance import Held
from magister.domain.observed import Adoptable, Offer
from magister.domain.risk.quarantine import Quarantines
from magister.states import Reason, State

RESTS_ON: Mapping[Reason, tuple[str, ...]] = {
    Reason.STALE_OFFER: ("sends", "unanswered", "contract_id"),
    Reason.FOUND: ("contract_id",),
    Reason.NEVER_SENT: ("sends", "contract_id"),
    Reason.NEVER_TOOK_EFFECT: (
        "absences",
        "unanswered",
        "contract_id",
        "verified_at",
        "beaten_at",
        "on_roster_at",
    ),
    Reason.UNVERIFIED: ("verify_by", "actual_status", "absences"),
    Reason.ENROLLED: ("on_roster_at", "off_roster_since"),
    Reason.EXITED: ("actual_status", "intended_status", "cur_state", "sick_since", "beaten_at"),
    Reason.OFFLINE: ("actual_status", "sick_since", "verified_at", "beaten_at"),
    Reason.SILENT: ("beaten_at", "verified_at", "announced_at"),
    Reason.FORGOTTEN: ("on_roster_at", "off_roster_since", "beaten_at"),
    Reason.COORDINATOR: ("declared_dead_at",),
    Reason.VANISHED: ("absences", "looked_gone_at", "last_seen_at", "contract_id"),
    Reason.PROVED_GONE: ("absences", "looked_gone_at", "called_at", "destroys"),
    Reason.REAPPEARED: ("due_at", "contract_id"),
    Reason.SURPLUS: ("sends",),
    Reason.BUDGET: ("sends",),
}
"""The columns that each reason of a planned move rests on: it is made only while they are as they were."""


@dataclass(frozen=True, slots=True)
class Rent:
    """Write the intent to rent an offer, then ask Vast for it."""

    offer: Offer
    why: str


@dataclass(frozen=True, slots=True)
class Send:
    """Ask Vast for the offer of a row whose intent stands and whose send was not carried out."""

    row: Held
    why: str


@dataclass(frozen=True, slots=True)
class Destroy:
    """Ask Vast to destroy the contract of a row."""

    row: Held
    contract_id: int
    why: str


@dataclass(frozen=True, slots=True)
class Autopsy:
    """Ask Vast for the logs of a box that failed, and wait for them until `until` at the latest."""

    row: Held
    contract_id: int
    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Look:
    """Ask Vast for one contract by its id, to prove it gone or find it after all."""

    row: Held
    contract_id: int
    why: str


@dataclass(frozen=True, slots=True)
class Move:
    """Move a row through the one door.

    `excuses_since` = losses since then, this one included, say nothing against their machines. `over_cap` is
    the cap of the budget that it is given up for, and `over_limit` what the cap is, in micro-dollars.
    """

    row: Held
    to: State
    reason: Reason
    why: str
    excuses_since: datetime | None = None
    over_cap: str | None = None
    over_limit: int | None = None

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Return the columns that must still be as they were in `row`, beside its state."""
        return RESTS_ON[self.reason]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make a row for a box of ours that has none."""

    box: Adoptable
    state: State
    reason: Reason
    why: str


@dataclass(frozen=True, slots=True)
class Search:
    """Ask the market for offers on `machines` different machines, beside those that are tried last."""

    machines: int
    why: str
    tried_last: Quarantines = field(default_factory=Quarantines, hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class List:
    """Ask Vast for a complete listing.

    `account` is the one that answers, as far as Vast says; `ours` = it is known to be the pool's.
    """

    why: str
    account: int | None = None
    ours: bool = True


@dataclass(frozen=True, slots=True)
class CheckAccount:
    """Ask Vast which account the key is of, and for its credit."""

    why: str


@dataclass(frozen=True, slots=True)
class CallRoll:
    """Ask Hierophant which workers it has, and which it holds to be dead."""

    why: str


@dataclass(frozen=True, slots=True)
class ReadBill:
    """Ask Vast what it charged on some UTC days, from the first on; again, for charges lag."""

    days: tuple[date, ...]
    why: str


Call = Send | Destroy | Autopsy | Look | Search | List | CheckAccount | CallRoll | ReadBill
"""What is asked of somebody over the network."""

Action = Rent | Move | Adopt | Call


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold the actions to take now and when to plan again if nothing else happens; None = no such time.

    `held_back` are moves that wait because too many verified instances are lost at once, `spared` those that
    would give up what another Magister may keep.
    """

    actions: tuple[Action, ...]
    next_at: datetime | None
    held_back: tuple[Move, ...] = ()
    spared: tuple[Move, ...] = ()
