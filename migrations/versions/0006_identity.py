"""Keep what proves a caller, a pool and a heartbeat: callback keys, an owner id, when a heartbeat began."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("instances", sa.Column("callback_key", sa.String(64), nullable=True))
    op.add_column("instances", sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("instances", sa.Column("over_cap", sa.String(32), nullable=True))
    op.add_column("instances", sa.Column("over_limit", sa.BigInteger(), nullable=True))
    op.add_column("pool", sa.Column("callback_secret", sa.String(64), nullable=True))
    op.add_column("pool", sa.Column("owner_id", sa.String(64), nullable=True))
    op.add_column("pool", sa.Column("acting_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("pool") as pool:
        pool.drop_column("acting_since")
        pool.drop_column("owner_id")
        pool.drop_column("callback_secret")
    with op.batch_alter_table("instances") as instances:
        instances.drop_column("over_limit")
        instances.drop_column("over_cap")
        instances.drop_column("announced_at")
        instances.drop_column("callback_key")
