"""Sessions know when somebody last proved who they are; people may have a second factor."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """A session counts as proven when it was opened; nobody has a second factor yet."""
    op.add_column("sessions", sa.Column("authenticated_at", WHEN, nullable=True))
    op.execute("UPDATE sessions SET authenticated_at = created_at")
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("authenticated_at", existing_type=WHEN, nullable=False)
    op.create_table(
        "second_factors",
        sa.Column("person_id", sa.String(36), sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("confirmed_at", WHEN, nullable=True),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("person_id", sa.String(36), sa.ForeignKey("people.id"), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("used_at", WHEN, nullable=True),
    )


def downgrade() -> None:
    """Sign-ins and second factors are forgotten what they knew."""
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
    op.drop_column("sessions", "authenticated_at")
