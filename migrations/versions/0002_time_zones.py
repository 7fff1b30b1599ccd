"""People can choose the time zone in which pages show instants."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """People have a time zone; empty is the house's."""
    column = sa.Column("time_zone", sa.String(length=64), nullable=False, server_default="")
    op.add_column("people", column)


def downgrade() -> None:
    """The column is gone."""
    op.drop_column("people", "time_zone")
