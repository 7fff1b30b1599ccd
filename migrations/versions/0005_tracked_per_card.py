"""One certificate can be on several cards, and is known on each."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A certificate is known per card."""
    _identify_by("sha256", "card_id")


def downgrade() -> None:
    """A certificate is known on one card only, the one it was first seen on."""
    op.execute(
        "DELETE FROM certificates WHERE EXISTS (SELECT 1 FROM certificates AS other"
        " WHERE other.sha256 = certificates.sha256"
        " AND (other.created_at < certificates.created_at"
        " OR (other.created_at = certificates.created_at"
        " AND other.card_id < certificates.card_id)))"
    )
    _identify_by("sha256")


def _identify_by(*columns: str) -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.drop_constraint("certificates_pkey", "certificates")
        op.create_primary_key("certificates_pkey", "certificates", list(columns))
        return
    # SQLite changes no key: the table is made anew and its rows are copied.
    table = sa.Table("certificates", sa.MetaData(), autoload_with=connection)
    for column in table.columns:
        column.primary_key = column.name in columns
    table.append_constraint(sa.PrimaryKeyConstraint(*columns))
    with op.batch_alter_table("certificates", copy_from=table, recreate="always"):
        pass
