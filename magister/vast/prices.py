"""What a row of Vast's may cost by the hour: the largest of what it says, so that no field hides a part.

Fields that tell of a discount are not read: what may be charged is the price without it.
"""

from collections.abc import Iterator, Mapping

from magister.vast import values

HOURS_PER_MONTH = 730.0
"""Of an average month; `storage_cost` is told per GB and month."""

Fields = Mapping[str, object]


def hourly(fields: Fields, *, disk_gb: float = 0.0) -> int | None:
    """Return the price of a row that runs, with its disk, in micro-dollars per hour; None = it has none.

    `disk_gb` is the disk that an offer is rented with, 0 = the row's own figures are of the right disk.
    """
    return _largest(_totals(fields, disk_gb))


def disk_hourly(fields: Fields, *, disk_gb: float = 0.0) -> int | None:
    """Return the disk's part of the price, in micro-dollars per hour; None = the row does not tell it."""
    return _largest(_disks(fields, disk_gb))


def _totals(fields: Fields, disk_gb: float) -> Iterator[float | None]:
    yield values.dollars(fields.get("dph_total"))
    disk = max(_known(_disks(fields, disk_gb)), default=0.0)
    gpus = values.dollars(fields.get("dph_base"))
    yield None if gpus is None else gpus + disk
    for part in _parts(fields):
        yield values.dollars(part.get("totalHour"))
        gpus, premium = (
            values.dollars(part.get("gpuCostPerHour")),
            values.dollars(part.get("slaPremiumPerHour")),
        )
        yield None if gpus is None else gpus + disk + (premium or 0.0)


def _disks(fields: Fields, disk_gb: float) -> Iterator[float | None]:
    yield values.dollars(fields.get("storage_total_cost"))
    for part in _parts(fields):
        yield values.dollars(part.get("diskHour"))
    monthly = values.dollars(fields.get("storage_cost"))
    yield None if monthly is None or not disk_gb else monthly * disk_gb / HOURS_PER_MONTH


def _parts(fields: Fields) -> Iterator[Fields]:
    """Yield the cost objects: `search` is of a running instance, `instance` of one as it is now."""
    for name in ("search", "instance"):
        yield values.mapping(fields.get(name)) or {}


def _known(told: Iterator[float | None]) -> Iterator[float]:
    return (one for one in told if one is not None)


def _largest(told: Iterator[float | None]) -> int | None:
    return values.price(max(_known(told), default=None))
