"""Keep how often each box says that its worker lives: settings may change after it was rented."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("instances", sa.Column("beat_secs", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("instances", table_kwargs={"sqlite_autoincrement": True}) as instances:
        instances.drop_column("beat_secs")
