"""Keep what instances cost and were billed, which machines are banned, and why each instance was chosen."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
TABLES = (
    "rates",
    "day_traffic",
    "day_costs",
    "instance_totals",
    "pool_hours",
    "bills",
    "bans",
    "choices",
)


def upgrade() -> None:
    make_rates()
    make_day_traffic()
    make_day_costs()
    make_totals()
    op.create_table(
        "bills",
        sa.Column("contract_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("line", sa.String(length=16), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("read_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("contract_id", "day", "line", name=op.f("pk_bills")),
    )
    op.create_table(
        "bans",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("banned_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('machine', 'host')", name=op.f("ck_bans_kind")),
        sa.PrimaryKeyConstraint("kind", "banned_id", name=op.f("pk_bans")),
    )
    op.create_table(
        "choices",
        sa.Column("instance_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_choices_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_choices")),
    )
    op.create_index(
        "ix_choices_replayable",
        "choices",
        ["instance_id"],
        sqlite_where=sa.text("facts <> ''"),
        postgresql_where=sa.text("facts <> ''"),
    )
    op.add_column("instances", sa.Column("disk_price", sa.BigInteger(), nullable=True))
    op.add_column(
        "instances", sa.Column("traffic_reserve", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index(
        "ix_instances_traffic",
        "instances",
        ["destroyed_at", "traffic_reserve"],
        sqlite_where=sa.text("traffic_reserve > 0"),
        postgresql_where=sa.text("traffic_reserve > 0"),
    )
    op.add_column("instances", sa.Column("failure", sa.String(length=32), nullable=True))
    op.add_column("instances", sa.Column("autopsy", sa.Text(), nullable=True))
    op.add_column("instances", sa.Column("autopsy_at", MOMENT, nullable=True))
    op.add_column("instances", sa.Column("template_hash", sa.Text(), nullable=True))
    op.create_index(
        "ix_instances_template_hash",
        "instances",
        ["template_hash"],
        sqlite_where=sa.text("verified_at IS NOT NULL"),
        postgresql_where=sa.text("verified_at IS NOT NULL"),
    )
    op.create_index(
        "ix_instances_failure",
        "instances",
        ["template_hash", "failure", "host_id", "excused", "machine_id"],
        sqlite_where=sa.text("failure IS NOT NULL"),
        postgresql_where=sa.text("failure IS NOT NULL"),
    )
    remember_the_past()
    op.add_column("pool", sa.Column("bills_read_at", MOMENT, nullable=True))


def make_rates() -> None:
    op.create_table(
        "rates",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("line", sa.String(length=8), nullable=False),
        sa.Column("begins_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("line IN ('gpu', 'disk')", name=op.f("ck_rates_line")),
        sa.CheckConstraint("micros >= 0", name=op.f("ck_rates_micros")),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_rates_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rates")),
    )
    op.create_index("ix_rates_instance_id_line_id", "rates", ["instance_id", "line", "id"])
    op.create_index(
        "ix_rates_open",
        "rates",
        ["instance_id", "line"],
        unique=True,
        sqlite_where=sa.text("ends_at IS NULL"),
        postgresql_where=sa.text("ends_at IS NULL"),
    )


def make_day_traffic() -> None:
    op.create_table(
        "day_traffic",
        sa.Column("instance_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("down_kb", sa.BigInteger(), nullable=False),
        sa.Column("up_kb", sa.BigInteger(), nullable=False),
        sa.Column("fractions", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "down_kb >= 0 AND up_kb >= 0 AND fractions >= 0", name=op.f("ck_day_traffic_grows")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_day_traffic_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("instance_id", "day", name=op.f("pk_day_traffic")),
    )


def make_day_costs() -> None:
    op.create_table(
        "day_costs",
        sa.Column("instance_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("traffic_micros", sa.BigInteger(), nullable=False),
        sa.Column("machine_id", sa.BigInteger(), nullable=True),
        sa.Column("host_id", sa.BigInteger(), nullable=True),
        sa.Column("gpu_name", sa.Text(), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_day_costs_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("instance_id", "day", name=op.f("pk_day_costs")),
    )
    covered = ["day", "micros", "traffic_micros"]
    op.create_index("ix_day_costs_day", "day_costs", covered)
    for column in ("machine_id", "host_id", "gpu_name", "reason"):
        op.create_index(f"ix_day_costs_{column}", "day_costs", [column, *covered])


def make_totals() -> None:
    op.create_table(
        "instance_totals",
        sa.Column("instance_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("machine_id", sa.BigInteger(), nullable=True),
        sa.Column("host_id", sa.BigInteger(), nullable=True),
        sa.Column("gpu_name", sa.Text(), nullable=True),
        sa.Column("adopted", sa.Boolean(create_constraint=True, name="adopted"),
                  nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("boot_seconds", sa.BigInteger(), nullable=True),
        sa.Column("works_from", MOMENT, nullable=True),
        sa.Column("works_until", MOMENT, nullable=False),
        sa.Column("last_rate", sa.BigInteger(), nullable=False),
        sa.Column("paid_seconds", sa.BigInteger(), nullable=False),
        sa.Column("worked_seconds", sa.BigInteger(), nullable=False),
        sa.Column("gpu_micros", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_instance_totals_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance_totals")),
    )  # fmt: skip
    op.create_index(
        "ix_instance_totals_machine_id",
        "instance_totals",
        [
            "machine_id",
            "host_id",
            "gpu_name",
            "adopted",
            "reason",
            "boot_seconds",
            "paid_seconds",
            "worked_seconds",
            "micros",
        ],
    )
    op.create_table(
        "pool_hours",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("verified", sa.BigInteger(), nullable=False),
        sa.Column("fractions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_pool_hours")),
    )


def remember_the_past() -> None:
    """Keep what boxes showed of their machines that were gone before rates were kept; they cost nothing."""
    if op.get_bind().dialect.name == "sqlite":
        boot = "strftime('%s', i.verified_at) - strftime('%s', COALESCE(i.created_at, i.requested_at))"
    else:
        boot = "floor(extract(epoch FROM i.verified_at - COALESCE(i.created_at, i.requested_at)))"
    op.execute(
        "INSERT INTO instance_totals (instance_id, machine_id, host_id, gpu_name, adopted, reason,"
        " boot_seconds, works_from, works_until, last_rate, paid_seconds, worked_seconds, gpu_micros, micros)"
        " SELECT i.id, i.machine_id, i.host_id, i.gpu_name, i.sends = 0, COALESCE((SELECT t.reason"
        " FROM transitions t WHERE t.instance_id = i.id AND t.to_state = 'dropping'"
        " ORDER BY t.id DESC LIMIT 1), i.reason),"
        f" CASE WHEN i.sends > 0 AND {boot} > 0 THEN {boot}"
        " WHEN i.sends > 0 AND i.verified_at IS NOT NULL THEN 0 END, i.verified_at,"
        " COALESCE(i.dropped_at, i.destroyed_at, i.moved_at), 0, 0, 0, 0, 0"
        " FROM instances i WHERE i.state = 'destroyed'"
        " AND (i.contract_id IS NOT NULL OR i.verified_at IS NOT NULL)"
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    with op.batch_alter_table("pool") as pool:
        pool.drop_column("bills_read_at")
    op.drop_index("ix_instances_failure", table_name="instances")
    op.drop_index("ix_instances_template_hash", table_name="instances")
    op.drop_index("ix_instances_traffic", table_name="instances")
    with op.batch_alter_table("instances", table_kwargs={"sqlite_autoincrement": True}) as instances:
        for name in ("disk_price", "failure", "autopsy", "autopsy_at", "template_hash", "traffic_reserve"):
            instances.drop_column(name)
