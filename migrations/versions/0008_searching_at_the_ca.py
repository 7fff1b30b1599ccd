"""Requests and certificates at the CA are searched by index; checks of the audit chain are kept."""

import sqlalchemy as sa
from alembic import op
from cryptography import x509
from cryptography.x509.oid import NameOID

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

REQUESTS = {
    "ix_ca_requests_state": ["state", "submitted_at", "request_id"],
    "ix_ca_requests_profile": ["profile", "submitted_at", "request_id"],
    "ix_ca_requests_submitted_at": ["submitted_at", "request_id"],
}
CERTIFICATES = {
    "ix_ca_certificates_revoked_at": ["revoked_at", "not_after", "id"],
    "ix_ca_certificates_person_id": ["person_id", "id"],
    "ix_ca_certificates_profile": ["profile", "id"],
    "ix_ca_certificates_subject": ["subject_folded", "id"],
}
NAMES = {NameOID.GIVEN_NAME: "GN", NameOID.SURNAME: "SN"}


def upgrade() -> None:
    """Whose a certificate is, and its subject, stand beside it; indexes follow the lists."""
    op.drop_index("ix_ca_requests_state", table_name="ca_requests")
    for name, columns in REQUESTS.items():
        op.create_index(name, "ca_requests", columns)
    for column in (
        sa.Column("profile", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("person_id", sa.String(length=256), nullable=False, server_default=""),
        sa.Column("subject_folded", sa.Text(), nullable=False, server_default=""),
        sa.Column("revoked_by", sa.String(length=256), nullable=False, server_default=""),
        sa.Column("revocation_note", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("ca_certificates", column)
    _fill()
    op.drop_index("ix_ca_certificates_revoked_at", table_name="ca_certificates")
    for name, columns in CERTIFICATES.items():
        op.create_index(name, "ca_certificates", columns)
    op.create_table(
        "audit_checks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("started_by", sa.String(length=36), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("checked", sa.Integer(), nullable=False),
        sa.Column("covered_to", sa.Integer(), nullable=False),
        sa.Column("broken_at", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _fill() -> None:
    for column in ("profile", "person_id"):
        op.execute(
            f"UPDATE ca_certificates SET {column} = (SELECT {column} FROM ca_requests "  # noqa: S608 two words of ours
            "WHERE ca_requests.request_id = ca_certificates.request_id) "
            "WHERE request_id IS NOT NULL"
        )
    rows = sa.table("ca_certificates", sa.column("id"), sa.column("draft", sa.LargeBinary),
                    sa.column("subject_folded"))  # fmt: skip
    bind = op.get_bind()
    for number in bind.execute(sa.select(rows.c.id)).scalars().all():
        draft = bind.execute(sa.select(rows.c.draft).where(rows.c.id == number)).scalar_one()
        subject = x509.load_der_x509_certificate(draft).subject.rfc4514_string(NAMES).casefold()
        bind.execute(rows.update().where(rows.c.id == number).values(subject_folded=subject))


def downgrade() -> None:
    """Columns, indexes and checks are gone."""
    op.drop_table("audit_checks")
    for name in CERTIFICATES:
        op.drop_index(name, table_name="ca_certificates")
    op.create_index("ix_ca_certificates_revoked_at", "ca_certificates", ["revoked_at"])
    for column in ("revocation_note", "revoked_by", "subject_folded", "person_id", "profile"):
        op.drop_column("ca_certificates", column)
    for name in REQUESTS:
        op.drop_index(name, table_name="ca_requests")
    op.create_index("ix_ca_requests_state", "ca_requests", ["state"])
