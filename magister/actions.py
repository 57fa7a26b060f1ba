"""What a plan may ask for: one frozen value for each kind of effect, each with its why."""

from dataclasses import dataclass, field
from datetime import date, datetime

from magister.facts import Adoptable, Offer
from magister.held import Held
from magister.quarantine import Quarantines
from magister.states import Reason, State


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

    `excuses_since` = losses since then, this one included, say nothing against their machines.
    """

    row: Held
    to: State
    reason: Reason
    why: str
    excuses_since: datetime | None = None


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

    `held_back` are moves that wait because too many verified instances are lost at once.
    """

    actions: tuple[Action, ...]
    next_at: datetime | None
    held_back: tuple[Move, ...] = ()
