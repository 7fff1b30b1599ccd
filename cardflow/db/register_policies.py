"""Queries about policies: immutable numbered versions."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import PolicyVersion


async def newest_version(session: AsyncSession, name: str) -> PolicyVersion | None:
    """Return the newest version of the policy."""
    query = select(PolicyVersion).where(col(PolicyVersion.name) == name)
    newest_first = query.order_by(col(PolicyVersion.version).desc()).limit(1)
    return (await session.scalars(newest_first)).one_or_none()


async def find_version(session: AsyncSession, name: str, version: int) -> PolicyVersion | None:
    """Return one version of a policy."""
    return await session.get(PolicyVersion, (name, version))


async def list_newest(session: AsyncSession, *, after: str, limit: int) -> list[PolicyVersion]:
    """Return the newest version of every policy, by name."""
    newest = (
        select(col(PolicyVersion.name), func.max(col(PolicyVersion.version)).label("version"))
        .group_by(col(PolicyVersion.name))
        .subquery()
    )
    same = (col(PolicyVersion.name) == newest.c.name) & (
        col(PolicyVersion.version) == newest.c.version
    )
    query = select(PolicyVersion).join(newest, same).where(col(PolicyVersion.name) > after)
    return list((await session.scalars(query.order_by(col(PolicyVersion.name)).limit(limit))).all())


async def list_versions(
    session: AsyncSession, name: str, *, after: int, limit: int
) -> list[PolicyVersion]:
    """Return a policy's versions in their order."""
    query = select(PolicyVersion).where(
        col(PolicyVersion.name) == name, col(PolicyVersion.version) > after
    )
    query = query.order_by(col(PolicyVersion.version)).limit(limit)
    return list((await session.scalars(query)).all())
