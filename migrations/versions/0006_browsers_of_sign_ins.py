"""A sign-in says from which browser it was made, so that its person can tell it from others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sign-ins keep what the browser called itself."""
    column = sa.Column("user_agent", sa.String(length=300), nullable=False, server_default="")
    op.add_column("sessions", column)


def downgrade() -> None:
    """The column is gone."""
    op.drop_column("sessions", "user_agent")
