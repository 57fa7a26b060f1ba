"""Make the instances, their history, the lease and the pool."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

STATES = ("requested", "created", "verified", "dropping", "destroyed")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def states(name: str) -> sa.Enum:
    return sa.Enum(*STATES, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    op.create_table(
        "instances",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("state", states("state"), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("moved_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("contract_id", sa.BigInteger(), nullable=True),
        sa.Column("mac_required", sa.Boolean(create_constraint=True, name="mac_required"), nullable=False),
        sa.Column("machine_id", sa.BigInteger(), nullable=True),
        sa.Column("host_id", sa.BigInteger(), nullable=True),
        sa.Column("gpu_name", sa.Text(), nullable=True),
        sa.Column("num_gpus", sa.Integer(), nullable=True),
        sa.Column("geolocation", sa.Text(), nullable=True),
        sa.Column("price", sa.BigInteger(), nullable=True),
        sa.Column("offer", sa.Text(), server_default="{}", nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("verified_at", MOMENT, nullable=True),
        sa.Column("dropped_at", MOMENT, nullable=True),
        sa.Column("destroyed_at", MOMENT, nullable=True),
        sa.Column("verify_by", MOMENT, nullable=True),
        sa.Column("sends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unanswered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("sent_fence", sa.BigInteger(), nullable=True),
        sa.Column("doubted_at", MOMENT, nullable=True),
        sa.Column("called_at", MOMENT, nullable=True),
        sa.Column("destroys", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "destroy_acked",
            sa.Boolean(create_constraint=True, name="destroy_acked"),
            server_default=sa.text("false"),
            nullable=False,
        ),
        sa.Column("judge_from", MOMENT, nullable=True),
        sa.Column("first_seen_at", MOMENT, nullable=True),
        sa.Column("last_seen_at", MOMENT, nullable=True),
        sa.Column("absences", sa.Integer(), server_default="0", nullable=False),
        sa.Column("absent_since", MOMENT, nullable=True),
        sa.Column("looked_at", MOMENT, nullable=True),
        sa.Column("looked_gone_at", MOMENT, nullable=True),
        sa.Column("sick_since", MOMENT, nullable=True),
        sa.Column("actual_status", sa.Text(), nullable=True),
        sa.Column("intended_status", sa.Text(), nullable=True),
        sa.Column("cur_state", sa.Text(), nullable=True),
        sa.Column("status_msg", sa.Text(), nullable=True),
        sa.Column("start_date", MOMENT, nullable=True),
        sa.Column("end_date", MOMENT, nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column(
            "excused",
            sa.Boolean(create_constraint=True, name="excused"),
            server_default=sa.text("false"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "sends >= 0 AND unanswered >= 0 AND unanswered <= sends", name=op.f("ck_instances_sends")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("contract_id", name=op.f("uq_instances_contract_id")),
        sa.UniqueConstraint("key", name=op.f("uq_instances_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_instances_due",
        "instances",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_instances_live",
        "instances",
        ["state"],
        sqlite_where=sa.text("state <> 'destroyed'"),
        postgresql_where=sa.text("state <> 'destroyed'"),
    )
    op.create_index("ix_instances_machine_id", "instances", ["machine_id"])
    op.create_index("ix_instances_moved_at", "instances", ["moved_at"])
    op.create_index("ix_instances_offer_id_id", "instances", ["offer_id", "id"])

    op.create_table(
        "lease",
        sa.Column("id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("locked", sa.Boolean(create_constraint=True, name="locked"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_lease_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
    )
    op.execute(
        "INSERT INTO lease (id, holder, fence, expires_at, locked) "
        "VALUES (1, '', 0, '1970-01-01 00:00:00', false)"
    )
    op.create_table(
        "pool",
        sa.Column("id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("target", sa.Integer(), server_default="0", nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.Column("listed_at", MOMENT, nullable=True),
        sa.Column("listing_wanted_at", MOMENT, nullable=True),
        sa.Column("rent_not_before", MOMENT, nullable=True),
        sa.Column("rent_refusals", sa.Integer(), server_default="0", nullable=False),
        sa.Column("credit", sa.BigInteger(), nullable=True),
        sa.Column("conditions", sa.Text(), server_default="[]", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_pool_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool")),
    )
    op.execute("INSERT INTO pool (id) VALUES (1)")
    op.create_table(
        "transitions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("instance_id", BIG_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("from_state", states("from_state"), nullable=True),
        sa.Column("to_state", states("to_state"), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_transitions_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_transitions_at", "transitions", ["at"])
    op.create_index("ix_transitions_instance_id_id", "transitions", ["instance_id", "id"])


def downgrade() -> None:
    for table in ("transitions", "pool", "lease", "instances"):
        op.drop_table(table)
