"""mail texts and digests"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mail_texts",
        sa.Column("policy_name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_by", sa.String(length=36), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("policy_name", "kind", "language"),
    )
    # Rows that are there already take the default; new ones always bring a value.
    op.add_column("people", _text("mail_digest", 10, "off"))
    op.add_column("mails", _text("certificate_sha256", 64, ""))
    op.add_column("mails", _text("digest_id", 36, ""))
    index = op.f("ix_mails_certificate_sha256")
    op.create_index(index, "mails", ["certificate_sha256"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_mails_certificate_sha256"), table_name="mails")
    op.drop_column("mails", "digest_id")
    op.drop_column("mails", "certificate_sha256")
    op.drop_column("people", "mail_digest")
    op.drop_table("mail_texts")


def _text(name: str, length: int, default: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String(length=length), nullable=False, server_default=default)
