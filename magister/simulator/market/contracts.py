"""A rented box: what was ordered, what became of it, and what its worker does."""

from dataclasses import dataclass, field
from enum import StrEnum

FIRST_ACCOUNT = 4242
"""The id of the account that the usual key is of."""


class Worker(StrEnum):
    """What the Contemplant inside a box does."""

    ABSENT = "absent"  # the box is not running
    WAITING = "waiting"  # the box runs, its onstart will be run soon
    STARTING = "starting"  # onstart is with the shell, or the call to /verify is out
    VERIFIED = "verified"  # the call to /verify was answered with 2xx
    REFUSED = "refused"  # ... with anything else, or not at all: it has exited for good
    FAILED = "failed"  # onstart did not get as far as a worker
    MUTE = "mute"  # it never calls: a dud, or nobody told it where
    DEAD = "dead"  # it died, the box still runs
    DROPPED = "dropped"  # Hierophant gave up on it: it has exited for good
    FORGOTTEN = "forgotten"  # Hierophant restarted: it has exited for good


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Hold what a create asked for; `disk` in GB, `bid` in dollars per hour or None for on-demand."""

    label: str | None
    image: str
    template: str | None
    onstart: str | None
    env: tuple[tuple[str, str], ...]
    disk: float
    runtype: str
    args: tuple[str, ...]
    bid: float | None
    running: bool
    cancel_unavail: bool


@dataclass(slots=True, kw_only=True)
class Contract:
    """Hold one contract from its create on, also after its end.

    Moments are simulated seconds, what it moves is in GB; `bill` and `traffic` are by the day. `counted` is
    what listings say that it moved, since `counted_at`; None = nothing yet.
    """

    id: int
    offer_id: int
    machine_id: int
    gpus: list[int]
    label: str | None
    image: str
    template: str | None
    onstart: str | None
    env: list[list[str]]
    disk: float
    runtype: str
    args: list[str]
    bid: float | None
    gpu_price: float
    storage_price: float
    api_key: str
    created_at: float
    ends_at: float
    listed_from: float
    billed_until: float
    intended: str = "running"
    holds_gpus: bool = False
    status: str | None = None
    status_msg: str | None = None
    unheard: bool = False
    epoch: int = 0
    running_since: float | None = None
    ended_at: float | None = None
    ended_by: str | None = None
    listed_until: float = 0.0
    worker: Worker = Worker.ABSENT
    worker_due: float | None = None
    verified_at: float | None = None
    drop_endpoint: str | None = None
    exported: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    bill: dict[str, list[float]] = field(default_factory=dict)
    to_pull: float = 0.0
    down_hourly: float = 0.0
    up_hourly: float = 0.0
    account: int = FIRST_ACCOUNT
    traffic: dict[str, list[float]] = field(default_factory=dict)
    is_counted: bool = True
    counted: list[float] | None = None  # GB down and up
    counted_at: float | None = None

    @property
    def live(self) -> bool:
        """Say whether it exists at Vast (and so bills at least its disk)."""
        return self.ended_at is None

    @property
    def storage_hourly(self) -> float:
        """Give the price of its disk in dollars per hour."""
        return self.storage_price * self.disk / 730.0

    def wrote(self, line: str) -> None:
        """Add to the log of its container, which keeps the last 200 lines."""
        self.log.append(line)
        del self.log[:-200]


def signed(
    order: Order,
    *,
    contract_id: int,
    offer_id: int,
    machine_id: int,
    gpus: tuple[int, ...],
    gpu_price: float,
    storage_price: float,
    api_key: str,
    now: float,
    ends_at: float,
    lag: float,
    habits: tuple[float, float, float, bool],
) -> Contract:
    """Make a contract of an order; a bid sets its own price, and `lag` seconds pass before it is listed.

    `habits` are the GB of its image, those that it downloads and uploads per hour, and whether listings
    count them.
    """
    to_pull, down_hourly, up_hourly, is_counted = habits
    return Contract(
        id=contract_id,
        offer_id=offer_id,
        machine_id=machine_id,
        gpus=list(gpus),
        label=order.label,
        image=order.image,
        template=order.template,
        onstart=order.onstart,
        env=[list(pair) for pair in order.env],
        disk=order.disk,
        runtype=order.runtype,
        args=list(order.args),
        bid=order.bid,
        gpu_price=gpu_price if order.bid is None else order.bid,
        storage_price=storage_price,
        api_key=api_key,
        created_at=now,
        ends_at=ends_at,
        listed_from=now + lag,
        billed_until=now,
        to_pull=to_pull,
        down_hourly=down_hourly,
        up_hourly=up_hourly,
        is_counted=is_counted,
    )
