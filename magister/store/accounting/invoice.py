"""What Vast charged: kept by the day, and held against what was estimated.

Only charges that are ours are kept: of a contract that a row knows, or under a label with our tag. Those that
no row knows are boxes that Magister paid for without knowing, unless a database was lost or another Magister
uses the same tag.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, delete, exists, func, insert, or_, select
from sqlalchemy.orm import Session

from magister.domain import cost
from magister.domain.observed import Charge
from magister.domain.owners import CHANCE_CHARS, FORMER_KEY_CHARS, OWNER_CHARS
from magister.planner.conditions import UnknownCharges
from magister.store import pool
from magister.store.accounting import spending
from magister.store.db.models import Instance
from magister.store.db.models_accounting import ESTIMATED, Bill, DayCost

ALARM = timedelta(days=7)
"""How long charges for boxes that no row knows are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """Hold the estimate and the bill of one contract, in micro-dollars; `instance` None = no row knows it."""

    instance: int | None
    contract_id: int
    label: str | None
    estimated: int = 0  # for GPU and disk, as `billed`
    billed: int = 0
    estimated_traffic: int = 0
    billed_traffic: int = 0

    @property
    def parted(self) -> int:
        """Return by how much the estimates and the charges differ."""
        return abs(self.estimated - self.billed) + abs(self.estimated_traffic - self.billed_traffic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Hold the bill of the days from `first` to `last` of which the charges were read; None = of none."""

    first: date | None
    last: date | None
    lines: tuple[Billed, ...] = ()

    @property
    def estimated(self) -> int:
        """Return the sum of the estimates for GPUs and disks."""
        return sum(line.estimated for line in self.lines)

    @property
    def billed(self) -> int:
        """Return what was charged for the GPUs and disks of instances that are known."""
        return sum(line.billed for line in self.lines if line.instance is not None)

    @property
    def estimated_traffic(self) -> int:
        """Return the sum of the estimates of traffic, as far as listings counted it."""
        return sum(line.estimated_traffic for line in self.lines)

    @property
    def billed_traffic(self) -> int:
        """Return what was charged for the traffic of instances that are known."""
        return sum(line.billed_traffic for line in self.lines if line.instance is not None)

    @property
    def unknown(self) -> UnknownCharges:
        """Return what was charged under our tag for boxes that no row knows."""
        found = [line.billed + line.billed_traffic for line in self.lines if line.instance is None]
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
        Bill.day >= cost.day_of(now - ALARM), ~exists().where(_of_a_row(Bill.contract_id, Bill.label))
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
    first, last = max(first, begun), min(last, cost.day_of(read_at) - timedelta(days=1))
    if first > last:
        return Reconciliation(first=None, last=None)
    estimated = _estimated(session, first, last, now)
    charged: defaultdict[tuple[int | None, int, str | None], Counter[bool]] = defaultdict(Counter)
    kept = (
        select(Bill.contract_id, Bill.label, Bill.line, func.sum(Bill.micros).label("micros"))
        .where(Bill.day.between(first, last))
        .group_by(Bill.contract_id, Bill.label, Bill.line)
        .subquery()
        .c
    )
    query = select(Instance.id, kept.contract_id, kept.label, kept.line, kept.micros).outerjoin(
        Instance, _of_a_row(kept.contract_id, kept.label)
    )
    for instance, contract, label, line, micros in session.execute(query):
        charged[instance, contract, label][line in ESTIMATED] += int(micros)
    lines = []
    for (row, contract, label), sums in charged.items():
        guess = Guess(contract) if row is None else estimated.pop(row, Guess(contract))
        lines.append(_billed(row, contract, label, guess, sums))
    lines += [
        _billed(number, guess.contract_id, None, guess, Counter())
        for number, guess in estimated.items()
        if guess.micros or guess.traffic
    ]
    lines.sort(key=lambda line: (-line.parted, line.contract_id))
    return Reconciliation(first=first, last=last, lines=tuple(lines))


@dataclass(frozen=True, slots=True)
class Guess:
    """Hold what is estimated of one instance, in micro-dollars."""

    contract_id: int
    micros: int = 0
    traffic: int = 0


def _billed(
    instance: int | None, contract: int, label: str | None, guess: Guess, sums: Counter[bool]
) -> Billed:
    return Billed(
        instance=instance,
        contract_id=contract,
        label=label,
        estimated=guess.micros,
        billed=sums[True],
        estimated_traffic=guess.traffic,
        billed_traffic=sums[False],
    )


def _estimated(session: Session, first: date, last: date, now: datetime) -> dict[int, Guess]:
    """Return what is estimated of each instance that cost anything."""
    found: dict[int, Guess] = {}
    for one in spending.living(session, now):
        days = tuple(one.within(first, last))
        found[one.id] = Guess(
            one.contract_id or 0, sum(micros for _, micros, _ in days), sum(more for *_, more in days)
        )
    query = (
        select(
            DayCost.instance_id,
            Instance.contract_id,
            func.sum(DayCost.micros),
            func.sum(DayCost.traffic_micros),
        )
        .join(Instance, Instance.id == DayCost.instance_id)
        .where(DayCost.day.between(first, last))
        .group_by(DayCost.instance_id, Instance.contract_id)
    )
    for instance, contract, micros, more in session.execute(query):
        found[instance] = Guess(contract or 0, int(micros), int(more))
    return found


def _of_a_row(
    contract: SQLColumnExpression[int], label: SQLColumnExpression[str | None]
) -> ColumnElement[bool]:
    """Tell a charge that a row knows, by its contract, or by its key where the contract never became known.

    The key is compared with the end of the label as a whole, for which the rows' index of keys can be asked;
    each length by itself, since SQLite asks another index for several at once.
    """
    lengths = (OWNER_CHARS + CHANCE_CHARS, FORMER_KEY_CHARS)
    keys = [func.substr(label, func.length(label) - (length - 1)) for length in lengths]
    by_key = (and_(Instance.contract_id.is_(None), Instance.key == key) for key in keys)
    return or_(Instance.contract_id == contract, *by_key)


def _tagged(label: str | None, tag: str) -> bool:
    return label is not None and label.partition(":")[0] == tag
