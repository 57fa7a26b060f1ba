"""What a plan is made from beside the rows: what the operator wants, and what the loop knows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from magister.domain.instance import Held
from magister.domain.observed import BEATS, Foreign, Offer, Stranger
from magister.domain.risk.launch_breaker import Caution, Outlook
from magister.domain.risk.quarantine import Quarantines
from magister.domain.risk.reputation import Reputation
from magister.money import Budget, Outlay, Overrun
from magister.states import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Say what the operator wants, in the terms the planner decides by."""

    target: int
    drop_prefix: str  # the drop URL up to the offer id
    label_tag: str
    template_hash: str | None = None  # of what is rented; None = not known
    surge: int = 0
    max_per_machine: int = 1
    max_per_host: int | None = None  # None = any number
    rank: str = "expected_cost"  # or "price", or "score"
    spread: float = 0.02  # by which share an offer counts as dearer for each of our boxes on its host
    bad_hosts: frozenset[int] = frozenset()
    bad_machines: frozenset[int] = frozenset()
    good_hosts: frozenset[int] = frozenset()
    good_machines: frozenset[int] = frozenset()
    max_price: int | None = None  # micro-dollars per hour, GPUs and disk
    min_reliability: float | None = None
    min_gpu_ram: float | None = None  # MB
    min_disk_space: float | None = None  # GB
    min_cuda: float | None = None
    min_duration: float | None = None  # seconds
    gpu_names: frozenset[str] = frozenset()
    num_gpus: int | None = None
    countries: frozenset[str] = frozenset()
    listing_every: timedelta = timedelta(seconds=30)
    recheck_after: timedelta = timedelta(seconds=5)
    verify_within: timedelta = timedelta(seconds=180)
    provisioning_grace: timedelta = timedelta(seconds=600)
    create_grace: timedelta = timedelta(seconds=300)
    offline_grace: timedelta = timedelta(seconds=600)
    beat_timeout: timedelta = timedelta(seconds=300)
    roster_every: timedelta | None = None  # None = Hierophant is not asked
    roster_grace: timedelta = timedelta(seconds=600)
    search_every: timedelta = timedelta(seconds=60)
    account_every: timedelta = timedelta(seconds=300)
    bills_every: timedelta | None = None  # None = the bill is not read
    bills_reread: int = 3  # days, since charges lag
    caution: Caution = field(default_factory=Caution)
    budget: Budget = field(default_factory=Budget)
    autopsy: bool = True  # ask for the logs of a box that failed before it is destroyed
    destroy_waits: tuple[timedelta, ...] = tuple(timedelta(seconds=s) for s in (5, 15, 60, 300))

    def silence(self, row: Held) -> timedelta:
        """Return for how long a box that used to beat may be silent, at the beat that it was rented with."""
        return max(self.beat_timeout, BEATS * timedelta(seconds=row.beat_secs or 0))

    def heartbeat_lasts(self, row: Held) -> timedelta:
        """Return for how long after a heartbeat its instance counts as alive, whatever Vast says of it."""
        return self.beat_timeout if row.beat_secs is None else BEATS * timedelta(seconds=row.beat_secs)

    def destroy_wait(self, attempts: int) -> timedelta:
        """Return how long to wait after so many calls to destroy one box."""
        return self.destroy_waits[min(max(attempts, 1), len(self.destroy_waits)) - 1]


@dataclass(frozen=True, slots=True)
class Loss:
    """Say when a verified instance was lost, on which host and why; None = not known."""

    at: datetime
    host_id: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Hold what the loop knows beside the rows.

    `listed_at` is when the last complete listing began that was begun since the start or since the
    clock jumped; None = there is none yet, so no deadline fires and nothing is rented.
    """

    listed_at: datetime | None = None
    list_failing: bool = False  # the last attempt at a listing proved nothing
    strangers: tuple[Stranger, ...] = ()
    foreign: tuple[Foreign, ...] = ()  # what another Magister rented under our label and address
    owner: str | None = None  # the owner id of the database; None = not known
    listing_wanted_at: datetime | None = None  # somebody asked for a listing, which has not been made yet
    list_not_before: datetime | None = None  # after a failed listing
    offers: tuple[Offer, ...] = ()
    searched_at: datetime | None = None
    search_failing: bool = False  # the last search was not answered: it says nothing of the market
    recent_offers: frozenset[int] = frozenset()  # live, or ended too short a time ago
    quarantines: Quarantines = field(default_factory=Quarantines)
    reputation: Reputation = field(default_factory=Reputation)
    rent_not_before: datetime | None = None
    account_at: datetime | None = None  # when the account was last asked for, since the start
    account: int | None = None  # which one answered then; None = none did, or Vast did not say
    ours: bool = True  # what it says is evidence: it is known to be the account of our boxes
    credit_at: datetime | None = None  # when the account was last asked that answered, since the start
    bills_read_at: datetime | None = None  # when the bill was last read in full
    bills_tried_at: datetime | None = None  # when that was last tried, since the start
    outlook: Outlook = field(default_factory=Outlook)
    lost: tuple[Loss, ...] = ()  # verified instances that were lost, within the window at least
    canary_at: datetime | None = None  # when the last box was rented whose worker verified
    arrived_at: datetime | None = None  # when the last complete listing was there
    hearing_since: datetime | None = None  # since when workers can be heard; None = they cannot now
    roster_at: datetime | None = None  # when the last roster that came was asked for, since the start
    roster_tried_at: datetime | None = None  # when one was last asked for, whatever came of it
    trusted_at: datetime | None = None  # losses and failures before it were said to count no more
    spent: Outlay = field(default_factory=Outlay)  # all zero if no cap counts it
    credit: int | None = None  # micro-dollars; None = unknown
    no_credit_at: datetime | None = None  # when the last create was refused for lack of it; None = it was not
    overrun: Overrun | None = None  # the cap for which an instance was given up that renting waits for
    set_aside: frozenset[int] = frozenset()  # rows on which an action failed unexpectedly just now
