"""Device keys have an age, mails tell of agents, and a person's second account is known as one."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An agent's key is as old as its enrolment until it is changed."""
    op.add_column("agents", sa.Column("key_since", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE agents SET key_since = enrolled_at")
    op.add_column("mails", sa.Column("agent_id", sa.String(36), server_default="", nullable=False))
    op.add_column("people", sa.Column("same_as", sa.String(36), nullable=True))


def downgrade() -> None:
    """Nothing of it is known."""
    for table, column in (
        ("people", "same_as"),
        ("mails", "agent_id"),
        ("agents", "key_since"),
    ):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
