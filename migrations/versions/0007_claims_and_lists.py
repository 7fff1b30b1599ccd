"""Work can be claimed, forms go out by mail, and the operators' lists have their indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_waiting_party_until", "waiting", ["party", "until", "update_id"]),
    ("ix_waiting_holder", "waiting", ["holder_id"]),
    ("ix_updates_stage_id", "updates", ["stage", "id"]),
    ("ix_updates_holder_id_id", "updates", ["holder_id", "id"]),
    ("ix_updates_policy_name_id", "updates", ["policy_name", "id"]),
    ("ix_mails_person", "mails", ["person_id", "created_at", "id"]),
)
COVERED = (("ix_updates_stage", ["stage"]), ("ix_updates_holder_id", ["holder_id"]))


def upgrade() -> None:
    """Claims have their table, mails their form, and lists are read in the order of an index."""
    op.create_table(
        "claims",
        sa.Column("update_id", sa.String(length=36), nullable=False),
        sa.Column("lane", sa.String(length=100), nullable=False),
        sa.Column("party", sa.String(length=20), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"]),
        sa.ForeignKeyConstraint(["update_id"], ["updates.id"]),
        sa.PrimaryKeyConstraint("update_id", "lane"),
    )
    op.create_index("ix_claims_person_id", "claims", ["person_id"])
    op.create_index("ix_claims_until", "claims", ["until"])
    document = sa.Column("document_id", sa.String(length=36), nullable=False, server_default="")
    op.add_column("mails", document)
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_updates_open", "updates", ["id"], sqlite_where=is_open, postgresql_where=is_open
    )
    for name, _ in COVERED:
        op.drop_index(name, "updates")


def downgrade() -> None:
    """Everything is as it was."""
    for name, columns in COVERED:
        op.create_index(name, "updates", columns)
    op.drop_index("ix_updates_open", "updates")
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table)
    op.drop_column("mails", "document_id")
    op.drop_table("claims")
