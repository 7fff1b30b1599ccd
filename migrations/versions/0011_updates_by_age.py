"""Updates are listed by age; their ids say nothing about time."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

IS_OPEN = sa.text("ended_at IS NULL")
NARROWED_BY = ("stage", "holder_id", "policy_name")


def upgrade() -> None:
    """Each list of updates is read in the order of an index."""
    op.drop_index("ix_updates_open", "updates")
    for name in NARROWED_BY:
        op.drop_index(f"ix_updates_{name}_id", "updates")
        op.create_index(f"ix_updates_{name}_age", "updates", [name, "opened_at", "id"])
    op.create_index("ix_updates_age", "updates", ["opened_at", "id"])
    _index_open("opened_at", "id")


def downgrade() -> None:
    """Lists are indexed by id."""
    op.drop_index("ix_updates_open", "updates")
    op.drop_index("ix_updates_age", "updates")
    for name in NARROWED_BY:
        op.drop_index(f"ix_updates_{name}_age", "updates")
        op.create_index(f"ix_updates_{name}_id", "updates", [name, "id"])
    _index_open("id")


def _index_open(*columns: str) -> None:
    where = {"sqlite_where": IS_OPEN, "postgresql_where": IS_OPEN}
    op.create_index("ix_updates_open", "updates", list(columns), **where)
