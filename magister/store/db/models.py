"""Tables only: columns, types, constraints, indexes."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from magister.states import Reason, State

BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite gives row ids only to a column declared INTEGER, which is 64 bits wide there."""


class Utc(TypeDecorator[datetime]):
    """Keep moments as UTC and refuse naive ones, which SQLite would silently mix up."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC; raises ValueError if it has no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r} for a UTC column")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored moment as an aware one in UTC."""
        return None if value is None else value.astimezone(UTC)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[str | None], datetime | None] | None:
        """Return what reads a stored moment; SQLite's text in one step, for there are thousands."""
        if dialect.name != "sqlite":
            return super().result_processor(dialect, coltype)
        return _told_in_utc


def _told_in_utc(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


class Table(DeclarativeBase):
    """Gather the tables; names of constraints follow one convention, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _states(name: str) -> Enum:
    values = [state.value for state in State]
    return Enum(
        State,
        native_enum=False,
        create_constraint=True,
        length=16,
        name=name,
        values_callable=lambda _: values,
    )


def _reasons() -> Enum:
    values = [reason.value for reason in Reason]
    return Enum(Reason, native_enum=False, length=32, values_callable=lambda _: values)


class Instance(Table):
    """One rental, from the intent to the proof that it is gone."""

    __tablename__ = "instances"
    __table_args__ = (
        CheckConstraint("sends >= 0 AND unanswered >= 0 AND unanswered <= sends", name="sends"),
        Index("ix_instances_live", "state", sqlite_where=text("state <> 'destroyed'"),
              postgresql_where=text("state <> 'destroyed'")),
        Index("ix_instances_due", "due_at", sqlite_where=text("due_at IS NOT NULL"),
              postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_instances_offer_id_id", "offer_id", "id"),
        Index("ix_instances_moved_at", "moved_at"),
        Index("ix_instances_template_hash", "template_hash", sqlite_where=text("verified_at IS NOT NULL"),
              postgresql_where=text("verified_at IS NOT NULL")),
        Index("ix_instances_traffic", "destroyed_at", "traffic_reserve",
              sqlite_where=text("traffic_reserve > 0"), postgresql_where=text("traffic_reserve > 0")),
        Index("ix_instances_failure", "template_hash", "failure", "host_id", "excused", "machine_id",
              sqlite_where=text("failure IS NOT NULL"), postgresql_where=text("failure IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[State] = mapped_column(_states("state"))
    reason: Mapped[Reason] = mapped_column(_reasons())
    moved_at: Mapped[datetime] = mapped_column(Utc)
    due_at: Mapped[datetime | None] = mapped_column(Utc)
    offer_id: Mapped[int] = mapped_column(BigInteger)
    contract_id: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    mac_required: Mapped[bool] = mapped_column(Boolean(create_constraint=True, name="mac_required"))
    callback_key: Mapped[str | None] = mapped_column(String(64))  # None = its callback URL has no key

    machine_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    host_id: Mapped[int | None] = mapped_column(BigInteger)
    gpu_name: Mapped[str | None] = mapped_column(Text)
    num_gpus: Mapped[int | None] = mapped_column(Integer)
    geolocation: Mapped[str | None] = mapped_column(Text)
    price: Mapped[int | None] = mapped_column(BigInteger)
    disk_price: Mapped[int | None] = mapped_column(BigInteger)
    traffic_reserve: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # micro-dollars
    offer: Mapped[str] = mapped_column(Text, server_default="{}")
    template_hash: Mapped[str | None] = mapped_column(Text)

    requested_at: Mapped[datetime] = mapped_column(Utc)
    created_at: Mapped[datetime | None] = mapped_column(Utc)
    verified_at: Mapped[datetime | None] = mapped_column(Utc)
    dropped_at: Mapped[datetime | None] = mapped_column(Utc)
    destroyed_at: Mapped[datetime | None] = mapped_column(Utc)
    verify_by: Mapped[datetime | None] = mapped_column(Utc)

    sends: Mapped[int] = mapped_column(Integer, server_default="0")
    unanswered: Mapped[int] = mapped_column(Integer, server_default="0")
    sent_at: Mapped[datetime | None] = mapped_column(Utc)
    sent_fence: Mapped[int | None] = mapped_column(BigInteger)
    doubted_at: Mapped[datetime | None] = mapped_column(Utc)
    called_at: Mapped[datetime | None] = mapped_column(Utc)
    destroys: Mapped[int] = mapped_column(Integer, server_default="0")
    destroy_acked: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="destroy_acked"), server_default=text("false")
    )

    judge_from: Mapped[datetime | None] = mapped_column(Utc)
    first_seen_at: Mapped[datetime | None] = mapped_column(Utc)
    last_seen_at: Mapped[datetime | None] = mapped_column(Utc)
    absences: Mapped[int] = mapped_column(Integer, server_default="0")
    absent_since: Mapped[datetime | None] = mapped_column(Utc)
    looked_at: Mapped[datetime | None] = mapped_column(Utc)
    looked_gone_at: Mapped[datetime | None] = mapped_column(Utc)
    sick_since: Mapped[datetime | None] = mapped_column(Utc)
    actual_status: Mapped[str | None] = mapped_column(Text)
    intended_status: Mapped[str | None] = mapped_column(Text)
    cur_state: Mapped[str | None] = mapped_column(Text)
    status_msg: Mapped[str | None] = mapped_column(Text)
    start_date: Mapped[datetime | None] = mapped_column(Utc)
    end_date: Mapped[datetime | None] = mapped_column(Utc)
    trouble: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(String(32))
    autopsy: Mapped[str | None] = mapped_column(Text)
    autopsy_at: Mapped[datetime | None] = mapped_column(Utc)
    announced_at: Mapped[datetime | None] = mapped_column(Utc)  # when its heartbeat loop started
    beaten_at: Mapped[datetime | None] = mapped_column(Utc)
    beat_secs: Mapped[int | None] = mapped_column(Integer)
    on_roster_at: Mapped[datetime | None] = mapped_column(Utc)
    off_roster_since: Mapped[datetime | None] = mapped_column(Utc)
    roster_deaths: Mapped[int | None] = mapped_column(Integer)
    declared_dead_at: Mapped[datetime | None] = mapped_column(Utc)
    over_cap: Mapped[str | None] = mapped_column(String(32))  # the cap of the budget that it was given up for
    over_limit: Mapped[int | None] = mapped_column(BigInteger)  # what that cap was, in micro-dollars
    excused: Mapped[bool] = mapped_column(
        Boolean(create_constraint=True, name="excused"), server_default=text("false")
    )


class Transition(Table):
    """One move of one instance: the history, never changed and never deleted."""

    __tablename__ = "transitions"
    __table_args__ = (
        Index("ix_transitions_instance_id_id", "instance_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"))
    at: Mapped[datetime] = mapped_column(Utc, index=True)
    from_state: Mapped[State | None] = mapped_column(_states("from_state"))
    to_state: Mapped[State] = mapped_column(_states("to_state"))
    reason: Mapped[Reason] = mapped_column(_reasons())
    actor: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)


class Lease(Table):
    """The one row that says which loop acts; `fence` grows with each change of holder."""

    __tablename__ = "lease"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    holder: Mapped[str] = mapped_column(String(64))
    fence: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    locked: Mapped[bool] = mapped_column(Boolean(create_constraint=True, name="locked"))


class Pool(Table):
    """The one row of what the loop last knew of the pool as a whole, and of what it was asked."""

    __tablename__ = "pool"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    target: Mapped[int] = mapped_column(Integer, server_default="0")
    heartbeat_at: Mapped[datetime | None] = mapped_column(Utc)
    listed_at: Mapped[datetime | None] = mapped_column(Utc)
    listing_wanted_at: Mapped[datetime | None] = mapped_column(Utc)
    rent_not_before: Mapped[datetime | None] = mapped_column(Utc)
    rent_refusals: Mapped[int] = mapped_column(Integer, server_default="0")
    credit: Mapped[int | None] = mapped_column(BigInteger)
    account_id: Mapped[int | None] = mapped_column(BigInteger)  # Vast's; None = not learnt yet
    owner_id: Mapped[str | None] = mapped_column(String(64))  # made once for each database
    acting_since: Mapped[datetime | None] = mapped_column(
        Utc
    )  # throughout; None = no listing told of all yet
    callback_secret: Mapped[str | None] = mapped_column(String(64))  # signs callback keys; made once
    hearing_since: Mapped[datetime | None] = mapped_column(Utc)
    heard_at: Mapped[datetime | None] = mapped_column(Utc)
    roster_at: Mapped[datetime | None] = mapped_column(Utc)
    trusted_at: Mapped[datetime | None] = mapped_column(Utc)
    bills_read_at: Mapped[datetime | None] = mapped_column(Utc)
    conditions: Mapped[str] = mapped_column(Text, server_default="[]")
