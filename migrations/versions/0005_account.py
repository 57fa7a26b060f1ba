"""Keep which Vast account the boxes of the pool are on, whose key may be changed; find bills by their day."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("pool", sa.Column("account_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_bills_day", "bills", ["day"])


def downgrade() -> None:
    op.drop_index("ix_bills_day", "bills")
    with op.batch_alter_table("pool") as pool:
        pool.drop_column("account_id")
