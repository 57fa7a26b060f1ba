"""The settings of the search at Vast and of Magister's own pace and company, a class a table."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from magister.settings.types import (
    Address,
    Allowed,
    Amount,
    Countries,
    Few,
    Group,
    Interval,
    ModelNames,
    Share,
    Url,
    Wait,
    Waits,
)

MB_PER_GB = 1000
SMALLEST_DISK_GB = 8
DEFAULT_DISK_GB = 16


class VastQuery(Group):
    """Say which offers fit; None or empty = no such filter."""

    allocated_storage: Annotated[Amount | None, Allowed("a number of GB, 0 or more")] = Field(
        default=None, description="Disk that offers are priced for and must have free, GB.", examples=[16]
    )
    gpu_name: ModelNames = Field(
        default=(),
        description="GPU model, or several of which any will do.",
        examples=[["RTX 4090", "RTX 5090"]],
    )
    reliability: Annotated[Share | None, Allowed("a share, 0 to 1")] = Field(
        default=None, description="Least reliability Vast gives the machine, 0 to 1.", examples=[0.99]
    )
    min_cuda_version: Annotated[Amount | None, Allowed("a version such as 12.8")] = Field(
        default=None, description="CUDA version the machine must support at least.", examples=[12.8]
    )
    gpu_ram: Annotated[Amount | None, Allowed("a number of GB, 0 or more")] = Field(
        default=None, description="Least memory of one GPU, GB.", examples=[24]
    )
    disk_space: Annotated[Amount | None, Allowed("a number of GB, 8 or more")] = Field(
        default=None,
        description="Disk to rent with each box, GB, at least 8; unset = allocated_storage, else 16.",
        examples=[100],
    )
    duration: Annotated[Amount | None, Allowed("a number of seconds, 0 or more")] = Field(
        default=None, description="Least time the offer must still stand, seconds.", examples=[192679]
    )
    cost_per_hour: Annotated[Amount | None, Allowed("a number of USD per hour, 0 or more")] = Field(
        default=None, description="Most that one box with its disk may cost, USD per hour.", examples=[0.6]
    )
    num_gpus: Annotated[Few | None, Allowed("a whole number, 1 to 64")] = Field(
        default=None, description="Exact number of GPUs in a box, 1 to 64.", examples=[1]
    )
    geolocation: Countries = Field(
        default=(),
        description="Countries to rent in, as two-letter codes of ISO 3166 (GB, not UK).",
        examples=[["SE", "NO", "FI"]],
    )

    @field_validator("disk_space")
    @classmethod
    def _not_too_small(cls, value: float | None, known: ValidationInfo) -> float | None:
        """Refuse a disk below what Vast rents, also when it comes from allocated_storage."""
        allocated = known.data.get("allocated_storage")
        if (value if value is not None else allocated or DEFAULT_DISK_GB) < SMALLEST_DISK_GB:
            raise ValueError(
                f"must be at least {SMALLEST_DISK_GB} GB, the smallest disk Vast rents"
                + (f" (it is taken from allocated_storage = {allocated:g})" if value is None else "")
            )
        return value

    @property
    def disk_gb(self) -> float:
        """Return the disk really rented with a box, in GB."""
        if self.disk_space is not None:
            return _plain(self.disk_space)
        return _plain(self.allocated_storage or DEFAULT_DISK_GB)

    @property
    def priced_storage_gb(self) -> float:
        """Return the disk to price offers for, in GB: never less than the disk rented."""
        return _plain(max(self.disk_gb, self.allocated_storage or 0))

    def filters(self) -> dict[str, object]:
        """Return Vast's flat search filters for the settings that are set, in Vast's units (MB, seconds).

        `allocated_storage`, when set, carries `priced_storage_gb`; a search that is to be priced rightly
        when it is unset has to add it.
        """
        floors = {
            "reliability2": self.reliability,
            "cuda_max_good": self.min_cuda_version,
            "gpu_ram": None if self.gpu_ram is None else self.gpu_ram * MB_PER_GB,
            "disk_space": self.disk_space,
            "duration": self.duration,
        }
        found: dict[str, object] = {
            name: {"gte": _plain(floor)} for name, floor in floors.items() if floor is not None
        }
        if self.allocated_storage is not None:
            found["allocated_storage"] = self.priced_storage_gb
        if self.gpu_name:
            found["gpu_name"] = {"in": list(self.gpu_name)}
        if self.cost_per_hour is not None:
            found["dph_total"] = {"lte": self.cost_per_hour}
        if self.num_gpus is not None:
            found["num_gpus"] = {"eq": self.num_gpus}
        if self.geolocation:
            found["geolocation"] = {"in": list(self.geolocation)}
        return found


class Pace(Group):
    """Space the calls to Vast, all in seconds."""

    create_secs: Interval = Field(default=4.5, description="Least time between two rentals, seconds.")
    destroy_secs: Interval = Field(default=3, description="Least time between two destroy calls, seconds.")
    list_secs: Interval = Field(
        default=1, description="Least time between two pages of the listing, seconds."
    )
    show_secs: Interval = Field(
        default=2, description="Least time between two looks at single instances, seconds."
    )
    search_secs: Interval = Field(
        default=6, description="Least time between two searches for offers, seconds."
    )
    account_secs: Interval = Field(
        default=2, description="Least time between two looks at the account, seconds."
    )
    logs_secs: Interval = Field(
        default=2, description="Least time between two requests for the logs of a box, seconds."
    )
    charges_secs: Interval = Field(
        default=1, description="Least time between two pages of the charges, seconds."
    )
    search_cache_secs: Interval = Field(
        default=60, description="How long the offers of a search are used, seconds."
    )
    timeout_secs: Wait = Field(default=30, description="How long one call may wait for an answer, seconds.")
    connect_timeout_secs: Wait = Field(
        default=10, description="How long one call may take to connect, seconds."
    )
    tick_secs: Wait = Field(default=0.5, description="How often the loop looks for due rows, seconds.")
    backoff_cap_secs: Interval = Field(
        default=300, description="Longest wait after repeated 429 without Retry-After, seconds."
    )
    destroy_retry_secs: Waits = Field(
        default=(5, 15, 60, 300),
        description="Waits between destroy calls until gone; the last repeats, seconds.",
    )
    recheck_secs: Interval = Field(
        default=5, description="How soon a second listing follows the suspicion that a box is gone, seconds."
    )
    account_poll_secs: Wait = Field(
        default=300, description="How often credit and balance are read, seconds."
    )


class Lease(Group):
    """Say how the one acting loop proves that it lives, in seconds."""

    lease_secs: Wait = Field(
        default=30, description="How long a loop that has died keeps others waiting, seconds."
    )
    renew_secs: Wait = Field(
        default=10, description="How often the lease is renewed, less than half of lease_secs, seconds."
    )

    @field_validator("renew_secs")
    @classmethod
    def _often_enough(cls, value: float, known: ValidationInfo) -> float:
        """Leave room for one missed renewal."""
        lease = known.data.get("lease_secs")
        if lease is not None and value >= lease / 2:
            raise ValueError(f"must be less than half of lease.lease_secs = {lease:g}")
        return value


class Hierophant(Group):
    """Say whether and how the coordinator is asked which workers it knows."""

    poll_secs: Interval = Field(
        default=0, description="How often Hierophant is asked for its workers, seconds; 0 = never."
    )
    url: Annotated[Url | None, Allowed("http(s)://host[:port][/path] without credentials or query")] = Field(
        default=None,
        description="Where Magister reaches Hierophant; unset = where workers do, by HTTP.",
        examples=["http://10.0.0.8:9010"],
    )
    grace_secs: Interval = Field(
        default=600,
        description="How long Hierophant may miss a verified worker before it is held to be lost, seconds.",
    )


class Web(Group):
    """Say how the web side listens and when it calls the loop unwell."""

    bind: Address = Field(default="0.0.0.0", description="Address to listen on; http_port is the port.")  # noqa: S104,
    workers: Few = Field(default=1, description="Web processes, 1 to 64.")
    threads: Few = Field(default=8, description="Threads in each web process, 1 to 64.")
    busy_timeout_secs: Wait = Field(
        default=30, description="How long a request waits for a busy database before it answers 503, seconds."
    )
    open_callbacks: Annotated[bool, Allowed("true or false")] = Field(
        default=False,
        description="Whether /verify and /drop need no callback key; then whoever reaches the port can drop.",
    )
    heartbeat_stale_secs: Wait = Field(
        default=60, description="How long without a step of the loop until /readyz says not ready, seconds."
    )


def _plain(value: float) -> float:
    """Return 16 rather than 16.0, as people write it."""
    return int(value) if float(value).is_integer() else value
