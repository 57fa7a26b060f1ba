"""What Vast and Hierophant say, and what is said to them, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

PROVISIONING = frozenset({"created", "loading"})
"""Statuses in which Vast says in so many words that the container is still being made."""

RUNNING = "running"

STOPPED = frozenset({"exited", "stopped", "frozen"})
"""Statuses from which Vast says a box never comes back to running by itself."""

KNOWN_STATUSES = (
    PROVISIONING
    | STOPPED
    | {
        RUNNING,
        "rebooting",
        "recycling",
        "restarting",
        "unknown",
        "offline",
        "scheduling",
        "connecting",
    }
)
"""Statuses that Vast documents or its clients know; any other is treated as unknown."""

LARGEST_ID = 2**63 - 1
"""The largest number that SQL keeps."""

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
    end_date: datetime | None = None
    score: float | None = None  # Vast's own
    inet_down_cost: int | None = None  # micro-dollars per GB that the box downloads
    geolocation: str | None = None
    verification: str | None = None
    rentable: bool | None = None
    external: bool | None = None
    is_bid: bool | None = None  # it can be taken away by whoever bids more
    resource_type: str | None = None
    details: str = field(default="{}", repr=False)  # all Vast said of it, as JSON text


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Say what to rent on an offer: the body of a create, less the offer."""

    template_hash: str
    label: str
    disk: float  # GB
    onstart: str = field(repr=False)


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
    inet_down_billed: int | None = None  # kB that it ever downloaded
    inet_up_billed: int | None = None  # kB that it ever uploaded
    inet_down_cost: int | None = None  # micro-dollars per GB
    inet_up_cost: int | None = None  # micro-dollars per GB
    start_date: datetime | None = None
    end_date: datetime | None = None
    offer: str = field(
        default="{}", repr=False, compare=False
    )  # JSON of what it shows of the offer it was rented on


@dataclass(frozen=True, slots=True)
class Listing:
    """Hold a complete listing of the account: every page read, every row counted."""

    begun_at: datetime
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Stranger:
    """Hold a listed box that no row knows; a twin bears the key of a row that has another contract."""

    sighting: Sighting
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """Name an instance under our label and address that another Magister rented; `owner` None = unknown."""

    contract_id: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class Adoptable:
    """Describe a box of ours without a row, read from its label and its drop URL."""

    sighting: Sighting
    offer_id: int
    key: str | None  # None = a box of the older tool, which gets a new key
    callback_key: str | None = field(default=None, repr=False)  # None = its callback URL has no key


@dataclass(frozen=True, slots=True)
class Account:
    """Hold what the account can spend, in micro-dollars, and which one it is; None = Vast did not say."""

    credit: int | None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """Hold what Vast charged for a contract on one line of the bill, in micro-dollars."""

    contract_id: int
    label: str | None
    line: str  # Vast's word: gpu, disk, bwd and bwu (traffic down and up), or one never heard of
    micros: int


@dataclass(frozen=True, slots=True)
class Roster:
    """Hold whom Hierophant listed, by drop endpoint; a worker without one is in neither list.

    The dead were read before the living, so whoever is among the dead alone has not come back.
    """

    begun_at: datetime
    living: frozenset[str]
    dead: Mapping[str, int]  # how many entries of the list of the dead bear each endpoint
    unread: int = 0  # entries that could not be read: any worker may be among them
