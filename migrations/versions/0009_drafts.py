"""Administrators look at what they prepare before it is put in force."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is prepared is kept until it is put in force, or forgotten after a day."""
    op.create_table(
        "drafts",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("person_id", sa.String(length=36), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("ix_drafts_person_id", "drafts", ["person_id"])
    op.create_index("ix_drafts_created_at", "drafts", ["created_at"])


def downgrade() -> None:
    """The table is gone."""
    op.drop_table("drafts")
