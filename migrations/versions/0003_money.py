"""Keep what instances cost and were billed, which machines are banned, and why each instance was chosen."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
TABLES = ("rates", "day_traffic", "day_costs", "bills", "bans", "choices")


def upgrade() -> None:
    make_rates()
    make_day_traffic()
    make_day_costs()
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


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    with op.batch_alter_table("pool") as pool:
        pool.drop_column("bills_read_at")
    op.drop_index("ix_instances_template_hash", table_name="instances")
    op.drop_index("ix_instances_traffic", table_name="instances")
    with op.batch_alter_table("instances", table_kwargs={"sqlite_autoincrement": True}) as instances:
        for name in ("disk_price", "failure", "autopsy", "autopsy_at", "template_hash", "traffic_reserve"):
            instances.drop_column(name)
