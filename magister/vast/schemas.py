"""Vast's rows as tolerant models, and the facts made of them.

A field of an odd type becomes None; only an id that cannot be read makes a row unusable.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from magister.domain.observed import Offer, Sighting
from magister.vast import prices, values

Identity = Annotated[int | None, BeforeValidator(values.identity)]
Whole = Annotated[int | None, BeforeValidator(values.whole)]
Few = Annotated[int | None, BeforeValidator(values.few)]
Number = Annotated[float | None, BeforeValidator(values.number)]
Lasting = Annotated[float | None, BeforeValidator(values.lasting)]
Count = Annotated[int | None, BeforeValidator(values.count)]
Price = Annotated[int | None, BeforeValidator(values.price)]
DiskHour = Annotated[int | None, BeforeValidator(values.disk_hour)]
Moment = Annotated[datetime | None, BeforeValidator(values.moment)]
Text = Annotated[str | None, BeforeValidator(values.text)]
Status = Annotated[str | None, BeforeValidator(values.status)]
Name = Annotated[str | None, BeforeValidator(values.name)]
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

_FOLDED = {
    "dph_total",
    "storage_total_cost",
    "search",
    "num_gpus",
    "gpu_ids",
    "gpu_ram",
    "gpu_total_ram",
    "reliability",
    "reliability2",
    "verification",
    "vericode",
}
"""Fields that become a fact under another name, or two of which become one."""

VERIFIED = 1
"""The `vericode` of a verified machine."""

DETAIL = 4_000
"""Characters of JSON that are kept of one field of an offer; a longer one is left out."""


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
    gpu_name: Name = None
    num_gpus: Few = None
    geolocation: Name = None
    template_hash_id: Name = None
    dph_total: Price = None
    storage_total_cost: Price = None
    search: DiskHour = None
    inet_down_billed: Count = None
    inet_up_billed: Count = None
    inet_down_cost: Price = None
    inet_up_cost: Price = None
    start_date: Moment = None
    end_date: Moment = None

    def sighting(self, raw: Mapping[str, object]) -> Sighting | None:
        """Return the instance as a fact, priced by all of `raw`; None = its id cannot be read."""
        if self.id is None:
            return None
        return Sighting(
            contract_id=self.id,
            price=prices.hourly(raw),
            disk_price=prices.disk_hourly(raw),
            template_hash=self.template_hash_id,
            offer=_offer_of(raw),
            **self.model_dump(exclude=_RENAMED),
        )

    def odd(self, raw: Mapping[str, object]) -> frozenset[str]:
        """Name the fields that Vast filled with something unusable."""
        blank = (name for name in type(self).model_fields if getattr(self, name) is None)
        return frozenset(name for name in blank if raw.get(name) is not None)


class OfferRow(BaseModel):
    """Read one offer of the market; raises ValidationError without what choosing cannot do without.

    Where two fields tell of the same, the one counts by which the offer is worth less.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[int, BeforeValidator(values.identity)]
    machine_id: Annotated[int, BeforeValidator(values.identity)]
    host_id: Annotated[int, BeforeValidator(values.whole)]
    dph_total: Annotated[int, BeforeValidator(values.price)]
    gpu_name: Annotated[str, BeforeValidator(values.name), Field(min_length=1)]
    num_gpus: Annotated[int, BeforeValidator(values.few)]
    gpu_ids: Annotated[Sequence[object] | None, BeforeValidator(values.sequence)] = None
    gpu_ram: Number = None
    gpu_total_ram: Number = None
    disk_space: Number = None
    reliability: Number = None
    reliability2: Number = None
    cuda_max_good: Number = None
    duration: Lasting = None
    end_date: Moment = None
    score: Number = None
    inet_down_cost: Price = None
    geolocation: Name = None
    verification: Name = None
    vericode: Number = None
    rentable: Flag = None
    external: Flag = None
    is_bid: Flag = None
    resource_type: Name = None

    def offer(self, raw: Mapping[str, object], disk_gb: float) -> Offer:
        """Return the offer as a fact, priced by all of `raw` for `disk_gb` of disk."""
        total_ram = self.gpu_total_ram
        return Offer(
            price=prices.hourly(raw, disk_gb=disk_gb) or self.dph_total,
            disk_price=prices.disk_hourly(raw, disk_gb=disk_gb),
            num_gpus=min(self.num_gpus, len(self.gpu_ids or ()) or self.num_gpus),
            gpu_ram=_least(self.gpu_ram, total_ram and total_ram / max(self.num_gpus, 1)),
            reliability=_least(self.reliability, self.reliability2),
            verification=self._verification(),
            details=_details(raw),
            **self.model_dump(exclude=_FOLDED),
        )

    def _verification(self) -> str | None:
        """Return what is said of the machine in words, unless the code beside it says otherwise."""
        if self.verification == "verified" and self.vericode not in {None, VERIFIED}:
            return f"verified with vericode {self.vericode:g}"
        return self.verification


def sighting(raw: object) -> tuple[Sighting | None, frozenset[str]]:
    """Read an instance, and name the fields that Vast filled with something unusable.

    None = it is not an object, or its id cannot be read.
    """
    fields = values.mapping(raw)
    if fields is None:
        return None, frozenset()
    row = InstanceRow.model_validate(fields)
    return row.sighting(fields), row.odd(fields)


def offer(raw: object, *, disk_gb: float = 0.0) -> Offer | str:
    """Read an offer to be rented with `disk_gb`, or name the first field without which it cannot be chosen.

    `disk_gb` 0 = the disk that Vast priced it for.
    """
    fields = values.mapping(raw)
    if fields is None:
        return "not an object"
    number = values.identity(fields.get("id")) or values.identity(fields.get("ask_contract_id"))
    try:
        row = OfferRow.model_validate({**fields, "id": number})
    except ValidationError as error:
        return str(error.errors()[0]["loc"][0])
    return row.offer(fields, disk_gb)


def _least(*told: float | None) -> float | None:
    """Return the least that is told; None = nothing is."""
    return min((one for one in told if one is not None), default=None)


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
    kept = ((name, _detail(value)) for name, value in fields.items() if len(name) <= values.NAME)
    return "{" + ",".join(f"{json.dumps(name)}:{told}" for name, told in kept if told is not None) + "}"


def _detail(value: object) -> str | None:
    """Write the value of one field; None = it is too long, or no JSON."""
    if isinstance(value, str) and len(value) > DETAIL:
        return None
    try:
        told = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return told if len(told) <= DETAIL else None
