"""Learn of the workers: their beats, Hierophant's lists, and when the operator said that losses are real."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)
OF_INSTANCES = ("beaten_at", "on_roster_at", "off_roster_since", "declared_dead_at")
OF_POOL = ("hearing_since", "heard_at", "roster_at", "trusted_at")


def upgrade() -> None:
    for name in OF_INSTANCES:
        op.add_column("instances", sa.Column(name, MOMENT, nullable=True))
    op.add_column("instances", sa.Column("roster_deaths", sa.Integer(), nullable=True))
    for name in OF_POOL:
        op.add_column("pool", sa.Column(name, MOMENT, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("pool") as pool:
        for name in OF_POOL:
            pool.drop_column(name)
    with op.batch_alter_table("instances", table_kwargs={"sqlite_autoincrement": True}) as instances:
        instances.drop_column("roster_deaths")
        for name in OF_INSTANCES:
            instances.drop_column(name)
