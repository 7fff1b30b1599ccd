"""People sign in at an OpenID provider or with their card; sessions know how."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXTS = {"way": 10, "provider_session": 255, "id_token": None, "certificate_sha256": 64}


def upgrade() -> None:
    """Accounts elsewhere are tied to people; every session so far was opened by a password."""
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("person_id", sa.String(36), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("person_id", "issuer"),
    )
    op.create_table(
        "spent_tokens",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_spent_tokens_until", "spent_tokens", ["until"])
    for name, length in TEXTS.items():
        default = "password" if name == "way" else ""
        column = sa.Column(name, sa.String(length), nullable=False, server_default=default)
        op.add_column("sessions", column)
    op.create_index("ix_sessions_provider_session", "sessions", ["provider_session"])


def downgrade() -> None:
    """Only passwords sign in; sessions that were opened otherwise end."""
    op.execute("DELETE FROM sessions WHERE way <> 'password'")
    op.drop_index("ix_sessions_provider_session", "sessions")
    for name in TEXTS:
        op.drop_column("sessions", name)
    op.drop_table("spent_tokens")
    op.drop_table("identities")
