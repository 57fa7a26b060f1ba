"""Tables of money and memory: what instances cost and were billed, who is banned, why each was chosen."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Date, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from magister.store.db.models import BigId, Table, Utc

ESTIMATED = frozenset({"gpu", "disk", "instance"})
"""Lines of the bill for GPUs and disk; all others are traffic."""


class Rate(Table):
    """What one instance costs per hour on one line of the bill, from one moment to another."""

    __tablename__ = "rates"
    __table_args__ = (
        CheckConstraint("line IN ('gpu', 'disk')", name="line"),
        CheckConstraint("micros >= 0", name="micros"),
        Index("ix_rates_instance_id_line_id", "instance_id", "line", "id"),
        Index("ix_rates_open", "instance_id", "line", unique=True, sqlite_where=text("ends_at IS NULL"),
              postgresql_where=text("ends_at IS NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    line: Mapped[str] = mapped_column(String(8))
    begins_at: Mapped[datetime] = mapped_column(Utc)
    ends_at: Mapped[datetime | None] = mapped_column(Utc)
    micros: Mapped[int] = mapped_column(BigInteger)  # micro-dollars per hour


class DayTraffic(Table):
    """What one instance moved on one UTC day, by the listings that showed it."""

    __tablename__ = "day_traffic"
    __table_args__ = (CheckConstraint("down_kb >= 0 AND up_kb >= 0 AND fractions >= 0", name="grows"),)

    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    down_kb: Mapped[int] = mapped_column(BigInteger)
    up_kb: Mapped[int] = mapped_column(BigInteger)
    fractions: Mapped[int] = mapped_column(
        BigInteger
    )  # micro-dollars per GB times kB: 1048576 of them are one


class DayCost(Table):
    """What one settled instance cost on one UTC day, beside what reports group by."""

    __tablename__ = "day_costs"
    __table_args__ = (
        Index("ix_day_costs_day", "day", "micros", "traffic_micros"),
        Index("ix_day_costs_machine_id", "machine_id", "day", "micros", "traffic_micros"),
        Index("ix_day_costs_host_id", "host_id", "day", "micros", "traffic_micros"),
        Index("ix_day_costs_gpu_name", "gpu_name", "day", "micros", "traffic_micros"),
        Index("ix_day_costs_reason", "reason", "day", "micros", "traffic_micros"),
    )

    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    micros: Mapped[int] = mapped_column(BigInteger)  # micro-dollars, of GPUs and disk
    traffic_micros: Mapped[int] = mapped_column(BigInteger, default=0)  # micro-dollars, beside them
    machine_id: Mapped[int | None] = mapped_column(BigInteger)
    host_id: Mapped[int | None] = mapped_column(BigInteger)
    gpu_name: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(32))  # why it left the pool


class InstanceTotal(Table):
    """What one box came to that is settled, beside what reports group by; None = not known."""

    __tablename__ = "instance_totals"
    __table_args__ = (
        Index("ix_instance_totals_machine_id", "machine_id", "host_id", "gpu_name", "adopted", "reason",
              "boot_seconds", "paid_seconds", "worked_seconds", "micros"),
    )  # fmt: skip

    instance_id: Mapped[int] = mapped_column(
        ForeignKey("instances.id"), primary_key=True, autoincrement=False
    )
    machine_id: Mapped[int | None] = mapped_column(BigInteger)
    host_id: Mapped[int | None] = mapped_column(BigInteger)
    gpu_name: Mapped[str | None] = mapped_column(Text)
    adopted: Mapped[bool] = mapped_column(Boolean(create_constraint=True, name="adopted"))
    reason: Mapped[str] = mapped_column(String(32))  # why it left the pool
    boot_seconds: Mapped[int | None] = mapped_column(BigInteger)  # None = never verified, or adopted
    works_from: Mapped[datetime | None] = mapped_column(Utc)  # its verification
    works_until: Mapped[datetime] = mapped_column(Utc)  # when it left the pool
    last_rate: Mapped[int] = mapped_column(BigInteger)  # the newest of its rates that it sums up; 0 = none
    paid_seconds: Mapped[int] = mapped_column(BigInteger)
    worked_seconds: Mapped[int] = mapped_column(BigInteger)
    gpu_micros: Mapped[int] = mapped_column(BigInteger)  # micro-dollars, part of `micros`
    micros: Mapped[int] = mapped_column(BigInteger)  # micro-dollars


class PoolHour(Table):
    """What all settled boxes came to in one UTC hour; `hour` counts from 1970."""

    __tablename__ = "pool_hours"

    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    instances: Mapped[int] = mapped_column(BigInteger)
    verified: Mapped[int] = mapped_column(BigInteger)  # those of them that worked in it
    fractions: Mapped[int] = mapped_column(BigInteger)  # micro-dollars per hour, times seconds


class Bill(Table):
    """What Vast charged for one contract on one UTC day and one line; `line` is Vast's word."""

    __tablename__ = "bills"
    __table_args__ = (Index("ix_bills_day", "day"),)

    contract_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    line: Mapped[str] = mapped_column(String(16), primary_key=True)
    micros: Mapped[int] = mapped_column(BigInteger)  # micro-dollars
    label: Mapped[str | None] = mapped_column(Text)
    read_at: Mapped[datetime] = mapped_column(Utc)


class Ban(Table):
    """A machine or a host that a person will not have any more."""

    __tablename__ = "bans"
    __table_args__ = (CheckConstraint("kind IN ('machine', 'host')", name="kind"),)

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    banned_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Utc)
    why: Mapped[str] = mapped_column(Text)


class Choice(Table):
    """Why one instance was rented and not another: the facts that were decided by, and the candidates."""

    __tablename__ = "choices"
    __table_args__ = (
        Index("ix_choices_replayable", "instance_id", sqlite_where=text("facts <> ''"),
              postgresql_where=text("facts <> ''")),
    )  # fmt: skip

    instance_id: Mapped[int] = mapped_column(
        ForeignKey("instances.id"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime] = mapped_column(Utc)
    facts: Mapped[str] = mapped_column(Text)  # JSON
    candidates: Mapped[str] = mapped_column(Text)  # JSON
