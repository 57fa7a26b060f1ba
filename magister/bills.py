"""What Vast charged: kept by the day, and held against what was estimated.

Only charges that are ours are kept: of a contract that a row knows, or under a label with our tag. Those that
no row knows are boxes that Magister paid for without knowing, unless a database was lost or another Magister
uses the same tag.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select
from sqlalchemy.orm import Session

from magister import pool, rates, spending
from magister.conditions import UnknownCharges
from magister.facts import Charge
from magister.models import Instance
from magister.models_money import Bill, DayCost

ESTIMATED = frozenset({"gpu", "disk", "instance"})
"""Lines that are estimated as well; all others are traffic, which only the bill shows."""

ALARM = timedelta(days=7)
"""How long charges for boxes that no row knows are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """Hold the estimate and the bill of one contract, in micro-dollars; `instance` None = no row knows it."""

    instance: int | None
    contract_id: int
    label: str | None
    estimated: int
    billed: int  # for GPU and disk
    traffic: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Hold the bill of the days from `first` to `last` of which the charges were read; None = of none."""

    first: date | None
    last: date | None
    lines: tuple[Billed, ...] = ()

    @property
    def estimated(self) -> int:
        """Return the sum of the estimates."""
        return sum(line.estimated for line in self.lines)

    @property
    def billed(self) -> int:
        """Return what was charged for the GPUs and disks of instances that are known."""
        return sum(line.billed for line in self.lines if line.instance is not None)

    @property
    def traffic(self) -> int:
        """Return what was charged beside that."""
        return sum(line.traffic for line in self.lines if line.instance is not None)

    @property
    def unknown(self) -> UnknownCharges:
        """Return what was charged under our tag for boxes that no row knows."""
        found = [line.billed + line.traffic for line in self.lines if line.instance is None]
        return UnknownCharges(len(found), sum(found))


def note(session: Session, day: date, charges: Iterable[Charge], *, tag: str, at: datetime) -> None:
    """Keep all charges of one day in place of what was kept of it before."""
    sums: Counter[tuple[int, str]] = Counter()
    labels: dict[int, str | None] = {}
    for charge in charges:
        sums[charge.contract_id, charge.line] += charge.micros
        labels[charge.contract_id] = charge.label
    known = select(Instance.contract_id).where(Instance.contract_id.in_(labels))
    ours = set(session.scalars(known)) | {c for c, label in labels.items() if _tagged(label, tag)}
    session.execute(delete(Bill).where(Bill.day == day).execution_options(synchronize_session=False))
    entries = [
        {
            "contract_id": contract,
            "day": day,
            "line": line,
            "micros": micros,
            "label": labels[contract],
            "read_at": at,
        }
        for (contract, line), micros in sums.items()
        if contract in ours
    ]
    if entries:
        session.execute(insert(Bill), entries)


def unknown(session: Session, now: datetime) -> UnknownCharges:
    """Return what was charged in the last days for boxes that no row knows."""
    query = select(func.count(Bill.contract_id.distinct()), func.coalesce(func.sum(Bill.micros), 0)).where(
        Bill.day >= rates.day_of(now - ALARM), ~exists().where(_of_a_row())
    )
    contracts, micros = session.execute(query).one()
    return UnknownCharges(contracts, int(micros))


def reconcile(session: Session, first: date, last: date, now: datetime) -> Reconciliation:
    """Hold what was estimated against what was charged, per contract, the greatest difference first.

    Only days whose charges were read count, which neither begin before the first charge that is kept nor
    reach the day of the last reading.
    """
    begun, read_at = session.scalar(select(func.min(Bill.day))), pool.read(session).bills_read_at
    if begun is None or read_at is None:
        return Reconciliation(first=None, last=None)
    first, last = max(first, begun), min(last, rates.day_of(read_at) - timedelta(days=1))
    if first > last:
        return Reconciliation(first=None, last=None)
    estimated = _estimated(session, first, last, now)
    charged: defaultdict[tuple[int | None, int, str | None], Counter[bool]] = defaultdict(Counter)
    query = (
        select(Instance.id, Bill.contract_id, Bill.label, Bill.line, Bill.micros)
        .outerjoin(Instance, _of_a_row())
        .where(Bill.day.between(first, last))
    )
    for instance, contract, label, line, micros in session.execute(query):
        charged[instance, contract, label][line in ESTIMATED] += micros
    lines = [
        Billed(
            instance=instance,
            contract_id=contract,
            label=label,
            estimated=0 if instance is None else estimated.pop(instance, (contract, 0))[1],
            billed=sums[True],
            traffic=sums[False],
        )
        for (instance, contract, label), sums in charged.items()
    ]
    lines += [
        Billed(instance=instance, contract_id=contract, label=None, estimated=micros, billed=0, traffic=0)
        for instance, (contract, micros) in estimated.items()
        if micros
    ]
    lines.sort(key=lambda line: (-abs(line.estimated - line.billed), line.contract_id))
    return Reconciliation(first=first, last=last, lines=tuple(lines))


def _estimated(session: Session, first: date, last: date, now: datetime) -> dict[int, tuple[int, int]]:
    """Return the contract and the estimated micro-dollars of each instance that cost anything."""
    found: dict[int, tuple[int, int]] = {}
    for one in spending.living(session, now):
        micros = sum(micros for day, micros in one.days.items() if first <= day <= last)
        found[one.id] = (one.contract_id or 0, micros)
    query = (
        select(DayCost.instance_id, Instance.contract_id, func.sum(DayCost.micros))
        .join(Instance, Instance.id == DayCost.instance_id)
        .where(DayCost.day.between(first, last))
        .group_by(DayCost.instance_id, Instance.contract_id)
    )
    for instance, contract, micros in session.execute(query):
        found[instance] = (contract or 0, int(micros))
    return found


def _of_a_row() -> ColumnElement[bool]:
    """Tell a bill that a row knows, by its contract, or by its key where the contract never became known."""
    keyed = and_(Instance.contract_id.is_(None), Bill.label.like("%:" + Instance.key))
    return or_(Instance.contract_id == Bill.contract_id, keyed)


def _tagged(label: str | None, tag: str) -> bool:
    return label is not None and label.partition(":")[0] == tag
