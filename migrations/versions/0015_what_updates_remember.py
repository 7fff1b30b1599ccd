"""What an open update remembers besides its view: enough to start its workflow anew."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Answers and decisions of open updates are kept; of those before, the journal knows most."""
    op.create_table(
        "memories",
        sa.Column("update_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("update_id", "kind", "name"),
        sa.ForeignKeyConstraint(["update_id"], ["updates.id"]),
    )


def downgrade() -> None:
    """Nothing is remembered."""
    op.drop_table("memories")
