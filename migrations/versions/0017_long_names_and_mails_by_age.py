"""Other people's cards name objects at length; mails are listed by age."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

WIDENED = {"certificates": ("cka_id", "serial_number"), "debts": ("cka_id",)}
UNTOLD = sa.text("state = 'folded' AND digest_id = ''")


def upgrade() -> None:
    """What a card says of itself fits; lists and rounds of mails are read in an index's order."""
    _set_length(1024)
    op.drop_index("ix_mails_state", "mails")
    op.create_index("ix_mails_age", "mails", ["created_at", "id"])
    op.create_index("ix_mails_state_age", "mails", ["state", "created_at", "id"])
    where = {"sqlite_where": UNTOLD, "postgresql_where": UNTOLD}
    columns = ["state", "digest_id", "person_id", "created_at"]
    op.create_index("ix_mails_untold", "mails", columns, **where)


def downgrade() -> None:
    """What is too long by now is not cut: PostgreSQL refuses to go back."""
    for name in ("untold", "state_age", "age"):
        op.drop_index(f"ix_mails_{name}", "mails")
    op.create_index("ix_mails_state", "mails", ["state"])
    _set_length(64)


def _set_length(length: int) -> None:
    for table, columns in WIDENED.items():
        with op.batch_alter_table(table) as changed:
            for column in columns:
                changed.alter_column(column, type_=sa.String(length), existing_nullable=False)
