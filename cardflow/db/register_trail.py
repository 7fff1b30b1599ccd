"""Queries over the audit trail; its chain is ``cardflow.db.audit``."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import AuditEntry


async def list_entries(
    session: AsyncSession, *, after: int, limit: int, update_id: str, kind: str, actor: str
) -> list[AuditEntry]:
    """Return entries in their order; an empty word does not narrow."""
    query = select(AuditEntry).where(col(AuditEntry.number) > after)
    for column, wanted in (
        (AuditEntry.update_id, update_id),
        (AuditEntry.kind, kind),
        (AuditEntry.actor, actor),
    ):
        if wanted:
            query = query.where(col(column) == wanted)
    query = query.order_by(col(AuditEntry.number)).limit(limit)
    return list((await session.scalars(query)).all())
