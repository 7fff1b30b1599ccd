"""Cards can be reported lost, and mails tell of cards beside any update."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No card was reported lost yet."""
    op.add_column("cards", sa.Column("lost_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cards", sa.Column("lost_by", sa.String(36), server_default="", nullable=False))
    op.add_column("cards", sa.Column("lost_because", sa.String, server_default="", nullable=False))
    op.add_column("mails", sa.Column("card_id", sa.String(36), server_default="", nullable=False))


def downgrade() -> None:
    """Nothing of it is known; the cards stay disabled."""
    op.drop_column("mails", "card_id")
    # Not by a new table in place of the old: other tables' rows name its rows.
    for column in ("lost_because", "lost_by", "lost_at"):
        op.drop_column("cards", column)
