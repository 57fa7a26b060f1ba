"""Keep which Vast account the boxes of the pool are on: the key may be changed to that of another."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("pool", sa.Column("account_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("pool") as pool:
        pool.drop_column("account_id")
