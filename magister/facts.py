"""The frozen values that pass between observing, planning, doing and showing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict

from magister.money import Budget, Outlay
from magister.outlook import Caution, Outlook
from magister.reputation import Reputation
from magister.states import LIVE, WANTED, Failure, Reason, State

MICROS_PER_USD = 1_000_000
"""Money is whole micro-dollars, so that sums are exact."""


BEATS = 3
"""Beats that a box may leave out before its silence can mean anything."""


class Route(StrEnum):
    """Name the Vast routes that are limited apart from one another."""

    CREATE = "create"
    DESTROY = "destroy"
    LIST = "list"
    SHOW = "show"
    SEARCH = "search"
    ACCOUNT = "account"
    TEMPLATE = "template"
    LOGS = "logs"
    CHARGES = "charges"
    ROSTER = "roster"  # Hierophant's, not Vast's


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Describe one offer of the market, as far as choosing needs it."""

    id: int
    machine_id: int
    host_id: int
    price: int  # micro-dollars per hour, for the GPUs and the disk that was priced
    gpu_name: str
    num_gpus: int
    disk_price: int | None = None  # of `price`, the part of the disk
    gpu_ram: float | None = None  # MB
    disk_space: float | None = None  # GB
    reliability: float | None = None
    cuda_max_good: float | None = None
    duration: float | None = None  # seconds left
    score: float | None = None  # Vast's own
    inet_down_cost: int | None = None  # micro-dollars per GB that the box downloads
    geolocation: str | None = None
    verification: str | None = None
    rentable: bool | None = None
    resource_type: str | None = None
    details: str = field(default="{}", repr=False)  # all Vast said of it, as JSON text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Describe one box of the account as Vast showed it; None = Vast said null or nothing."""

    contract_id: int
    label: str | None = None
    onstart: str | None = field(default=None, repr=False)
    actual_status: str | None = None
    intended_status: str | None = None
    cur_state: str | None = None
    status_msg: str | None = None
    machine_id: int | None = None
    host_id: int | None = None
    gpu_name: str | None = None
    num_gpus: int | None = None
    geolocation: str | None = None
    template_hash: str | None = None
    price: int | None = None  # micro-dollars per hour while running, disk included
    disk_price: int | None = None  # micro-dollars per hour, in every state
    start_date: datetime | None = None
    end_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold a complete listing of the account: every page read, every row counted."""

    begun_at: datetime
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """Hold what the account can spend, in micro-dollars; None = Vast did not say."""

    credit: int | None


@dataclass(frozen=True, slots=True)
class Charge:
    """Hold what Vast charged for a contract on one line of the bill, in micro-dollars."""

    contract_id: int
    label: str | None
    line: str  # Vast's word: gpu, disk, bwd and bwu (traffic down and up), or one never heard of
    micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Say what to rent on an offer: the body of a create, less the offer."""

    template_hash: str
    label: str
    disk: float  # GB
    onstart: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Hold one row of `instances` as it was read.

    `judge_from` is when evidence of absence starts to count: a listing begun before it says nothing
    of this row. None = nothing was sent yet, or the answer to a send is still awaited.
    """

    id: int
    key: str
    offer_id: int
    state: State
    reason: Reason
    requested_at: datetime
    moved_at: datetime
    due_at: datetime | None = None
    contract_id: int | None = None
    machine_id: int | None = None
    host_id: int | None = None
    price: int | None = None  # micro-dollars per hour while running, disk included
    disk_price: int | None = None  # micro-dollars per hour, in every state
    mac_required: bool = False
    sends: int = 0
    unanswered: int = 0
    sent_at: datetime | None = None
    doubted_at: datetime | None = None
    created_at: datetime | None = None
    verified_at: datetime | None = None
    verify_by: datetime | None = None
    destroyed_at: datetime | None = None
    called_at: datetime | None = None  # the last destroy call
    destroys: int = 0
    destroy_acked: bool = False
    judge_from: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    absences: int = 0
    absent_since: datetime | None = None
    looked_at: datetime | None = None  # the last look by id, whatever came of it
    looked_gone_at: datetime | None = None
    sick_since: datetime | None = None
    actual_status: str | None = None
    intended_status: str | None = None
    cur_state: str | None = None
    status_msg: str | None = None
    beaten_at: datetime | None = None  # when the box last said that its worker lives
    beat_secs: int | None = None  # how often it does so, as it says itself; None = it did not say
    on_roster_at: datetime | None = None  # the last roster of Hierophant that had its worker
    off_roster_since: datetime | None = None  # the first roster that lacked it since
    roster_deaths: int | None = None  # entries of the dead under its address that are none of its own
    declared_dead_at: datetime | None = None  # the roster that had one more
    autopsy_at: datetime | None = None  # when its logs came, were refused or were given up

    @property
    def live(self) -> bool:
        """Say whether it may still cost money."""
        return self.state in LIVE

    @property
    def wanted(self) -> bool:
        """Say whether it counts towards the target."""
        return self.state in WANTED

    @property
    def unsent(self) -> bool:
        """Say whether the intent stands and no create for it is under way or in doubt."""
        return self.state is State.REQUESTED and self.unanswered == 0 and self.contract_id is None

    @property
    def in_flight(self) -> bool:
        """Say whether the answer to a create is still awaited."""
        return self.unanswered > 0 and self.doubted_at is None and self.contract_id is None


class Learned(TypedDict, total=False):
    """Name the columns that may be written when a fact is learned, in any state."""

    actual_status: str | None
    absences: int
    absent_since: datetime | None
    autopsy: str | None
    autopsy_at: datetime | None
    beat_secs: int
    beaten_at: datetime | None
    called_at: datetime | None
    contract_id: int | None
    created_at: datetime | None
    cur_state: str | None
    declared_dead_at: datetime | None
    destroy_acked: bool
    destroys: int
    disk_price: int | None
    doubted_at: datetime | None
    due_at: datetime | None
    end_date: datetime | None
    excused: bool
    failure: Failure | None
    first_seen_at: datetime | None
    geolocation: str | None
    gpu_name: str | None
    host_id: int | None
    intended_status: str | None
    judge_from: datetime | None
    last_seen_at: datetime | None
    looked_at: datetime | None
    looked_gone_at: datetime | None
    machine_id: int | None
    num_gpus: int | None
    off_roster_since: datetime | None
    on_roster_at: datetime | None
    price: int | None
    roster_deaths: int | None
    sick_since: datetime | None
    start_date: datetime | None
    status_msg: str | None
    trouble: str | None
    unanswered: int
    verified_at: datetime | None
    verify_by: datetime | None


@dataclass(frozen=True, slots=True)
class Stranger:
    """Hold a listed box that no row knows; a twin bears the key of a row that has another contract."""

    sighting: Sighting
    twin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Tell what one rental showed of its machine: a failure, or None = its worker verified.

    `worked` is for how many seconds a box that failed had been verified.
    """

    at: datetime
    machine_id: int
    host_id: int | None
    failure: Failure | None
    worked: float = 0.0
    template_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Say until when a machine or a host is tried last, and why."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Quarantines:
    """Hold who is tried last, by machine id and by host id."""

    machines: Mapping[int, Quarantine] = field(default_factory=dict)
    hosts: Mapping[int, Quarantine] = field(default_factory=dict)

    def of(self, machine_id: int | None, host_id: int | None) -> Quarantine | None:
        """Return the longer quarantine of a machine and its host; None = neither is in one."""
        found = [self.machines.get(machine_id or 0), self.hosts.get(host_id or 0)]
        return max((one for one in found if one is not None), key=lambda one: one.until, default=None)


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

    def destroy_wait(self, attempts: int) -> timedelta:
        """Return how long to wait after so many calls to destroy one box."""
        return self.destroy_waits[min(max(attempts, 1), len(self.destroy_waits)) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Hold what the loop knows beside the rows.

    `listed_at` is when the last complete listing began that was begun since the start or since the
    clock jumped; None = there is none yet, so no deadline fires and nothing is rented.
    """

    listed_at: datetime | None = None
    list_failing: bool = False  # the last attempt at a listing proved nothing
    strangers: tuple[Stranger, ...] = ()
    listing_wanted_at: datetime | None = None  # somebody asked for a listing, which has not been made yet
    list_not_before: datetime | None = None  # after a failed listing
    offers: tuple[Offer, ...] = ()
    searched_at: datetime | None = None
    recent_offers: frozenset[int] = frozenset()  # live, or ended too short a time ago
    quarantines: Quarantines = field(default_factory=Quarantines)
    reputation: Reputation = field(default_factory=Reputation)
    rent_not_before: datetime | None = None
    account_at: datetime | None = None
    bills_read_at: datetime | None = None  # when the bill was last read in full
    bills_tried_at: datetime | None = None  # when that was last tried, since the start
    outlook: Outlook = field(default_factory=Outlook)
    lost: tuple[datetime, ...] = ()  # when verified instances were lost within the window
    canary_at: datetime | None = None  # when the last box was rented whose worker verified
    arrived_at: datetime | None = None  # when the last complete listing was there
    hearing_since: datetime | None = None  # since when workers can be heard; None = they cannot now
    roster_at: datetime | None = None  # when the last roster that came was asked for, since the start
    roster_tried_at: datetime | None = None  # when one was last asked for, whatever came of it
    trusted_at: datetime | None = None  # losses and failures before it were said to count no more
    spent: Outlay = field(default_factory=Outlay)  # all zero if no cap counts it
    credit: int | None = None  # micro-dollars; None = unknown
    too_dear_at: datetime | None = None  # when an instance was last given up for the budget, within the hour
    set_aside: frozenset[int] = frozenset()  # rows on which an action failed unexpectedly just now


@dataclass(frozen=True, slots=True)
class Condition:
    """Say in a line what is wrong with the pool and what would cure it."""

    what: str
    cure: str
    kind: str = ""  # what programs tell it by


@dataclass(frozen=True, slots=True)
class Adoptable:
    """Describe a box of ours without a row, read from its label and its drop URL."""

    sighting: Sighting
    offer_id: int
    key: str | None  # None = a box of the older tool, which gets a new key
    mac_required: bool


@dataclass(frozen=True, slots=True)
class Roster:
    """Hold whom Hierophant listed, by drop endpoint; a worker without one is in neither list.

    The dead were read before the living, so whoever is among the dead alone has not come back.
    """

    begun_at: datetime
    living: frozenset[str]
    dead: Mapping[str, int]  # how many entries of the list of the dead bear each endpoint
    unread: int = 0  # entries that could not be read: any worker may be among them
