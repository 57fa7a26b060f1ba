"""Vast's rows as tolerant models, and the facts made of them.

A field of an odd type becomes None; only an id that cannot be read makes a row unusable.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from magister.facts import Offer, Sighting
from magister.vast import values

Identity = Annotated[int | None, BeforeValidator(values.identity)]
Whole = Annotated[int | None, BeforeValidator(values.whole)]
Number = Annotated[float | None, BeforeValidator(values.number)]
Count = Annotated[int | None, BeforeValidator(values.count)]
Price = Annotated[int | None, BeforeValidator(values.price)]
DiskHour = Annotated[int | None, BeforeValidator(values.disk_hour)]
Moment = Annotated[datetime | None, BeforeValidator(values.moment)]
Text = Annotated[str | None, BeforeValidator(values.text)]
Status = Annotated[str | None, BeforeValidator(values.status)]
Flag = Annotated[bool | None, BeforeValidator(values.flag)]

_RENAMED = {"id", "template_hash_id", "dph_total", "storage_total_cost", "search"}
"""Fields of an instance that become a fact under another name."""

LONGEST_TEXT = 200
"""Characters of a text that is kept of an instance's offer; a longer one says nothing of it."""

_OF_ITS_OFFER = {name: name for name in (
    *("machine_id", "host_id", "hosting_type", "gpu_name", "gpu_arch", "num_gpus", "gpu_ram", "gpu_frac"),
    *("cpu_name", "cpu_cores", "cpu_cores_effective", "cpu_ram", "mobo_name", "disk_name", "disk_space"),
    *("disk_bw", "geolocation", "static_ip", "os_version", "driver_version", "pci_gen", "pcie_bw"),
    *("inet_up", "inet_down", "inet_up_cost", "inet_down_cost", "is_bid", "min_bid", "dph_base", "dph_total"),
    *("storage_cost", "storage_total_cost", "vram_costperhour", "reliability2", "score", "dlperf"),
    *("dlperf_per_dphtotal", "verification", "rentable", "duration", "start_date", "end_date"),
)} | {"gpu_totalram": "gpu_total_ram"}  # fmt: skip
"""Fields of an instance that its offer had too, with their names there.

No other is kept: an instance's row also holds secrets, such as its start text.
"""

_FOLDED = {"dph_total", "storage_total_cost", "search", "reliability", "reliability2"}
"""Fields that become a fact under another name, or two of which become one."""


class InstanceRow(BaseModel):
    """Read one instance, of a listing or by itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identity = None
    label: Text = None
    onstart: Text = None
    actual_status: Status = None
    intended_status: Status = None
    cur_state: Status = None
    status_msg: Text = None
    machine_id: Identity = None
    host_id: Whole = None
    gpu_name: Text = None
    num_gpus: Whole = None
    geolocation: Text = None
    template_hash_id: Text = None
    dph_total: Price = None
    storage_total_cost: Price = None
    search: DiskHour = None
    inet_down_billed: Count = None
    inet_up_billed: Count = None
    inet_down_cost: Price = None
    inet_up_cost: Price = None
    start_date: Moment = None
    end_date: Moment = None

    def sighting(self, offer: str) -> Sighting | None:
        """Return the instance as a fact, with what it shows of its `offer`; None = its id cannot be read."""
        if self.id is None:
            return None
        return Sighting(
            contract_id=self.id,
            price=self.dph_total,
            disk_price=_first(self.storage_total_cost, self.search),
            template_hash=self.template_hash_id,
            offer=offer,
            **self.model_dump(exclude=_RENAMED),
        )

    def odd(self, raw: Mapping[str, object]) -> frozenset[str]:
        """Name the fields that Vast filled with something unusable."""
        blank = (name for name in type(self).model_fields if getattr(self, name) is None)
        return frozenset(name for name in blank if raw.get(name) is not None)


class OfferRow(BaseModel):
    """Read one offer of the market; raises ValidationError without what choosing cannot do without."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[int, BeforeValidator(values.identity)]
    machine_id: Annotated[int, BeforeValidator(values.identity)]
    host_id: Annotated[int, BeforeValidator(values.whole)]
    dph_total: Annotated[int, BeforeValidator(values.price)]
    gpu_name: Annotated[str, BeforeValidator(values.text), Field(min_length=1)]
    num_gpus: Annotated[int, BeforeValidator(values.whole)]
    storage_total_cost: Price = None
    search: DiskHour = None
    gpu_ram: Number = None
    disk_space: Number = None
    reliability: Number = None
    reliability2: Number = None
    cuda_max_good: Number = None
    duration: Number = None
    score: Number = None
    inet_down_cost: Price = None
    geolocation: Text = None
    verification: Text = None
    rentable: Flag = None
    resource_type: Text = None

    def offer(self, details: str) -> Offer:
        """Return the offer as a fact with `details` beside it."""
        reliability = self.reliability if self.reliability2 is None else self.reliability2
        return Offer(
            price=self.dph_total,
            disk_price=_first(self.storage_total_cost, self.search),
            reliability=reliability,
            details=details,
            **self.model_dump(exclude=_FOLDED),
        )


def sighting(raw: object) -> tuple[Sighting | None, frozenset[str]]:
    """Read an instance, and name the fields that Vast filled with something unusable.

    None = it is not an object, or its id cannot be read.
    """
    fields = values.mapping(raw)
    if fields is None:
        return None, frozenset()
    row = InstanceRow.model_validate(fields)
    return row.sighting(_offer_of(fields)), row.odd(fields)


def offer(raw: object) -> Offer | str:
    """Read an offer, or name the first field without which it cannot be chosen."""
    fields = values.mapping(raw)
    if fields is None:
        return "not an object"
    number = values.identity(fields.get("id")) or values.identity(fields.get("ask_contract_id"))
    try:
        row = OfferRow.model_validate({**fields, "id": number})
    except ValidationError as error:
        return str(error.errors()[0]["loc"][0])
    return row.offer(_details(fields))


def _first(said: int | None, otherwise: int | None) -> int | None:
    """Prefer `storage_total_cost` over the disk's part of `search`: both are dollars per hour."""
    return otherwise if said is None else said


def _offer_of(fields: Mapping[str, object]) -> str:
    """Write what an instance shows of the offer that it was rented on as compact JSON."""
    shown = {
        name: fields[own]
        for own, name in _OF_ITS_OFFER.items()
        if isinstance(fields.get(own), int | float)
        or (isinstance(text := fields.get(own), str) and len(text) <= LONGEST_TEXT)
    }
    if (cuda := values.number(fields.get("cuda_max_good"))) is not None:  # of an instance it is a text
        shown["cuda_max_good"] = cuda
    return _details(shown)


def _details(fields: Mapping[str, object]) -> str:
    """Write what Vast said of an offer as compact JSON; NaN and the infinities were parsed as null."""
    try:
        return json.dumps(fields, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return "{}"
