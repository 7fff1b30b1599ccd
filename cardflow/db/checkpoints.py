"""Checkpoints in the database: made of what was verified since the last one, and only then."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow import checkpoints
from cardflow.chain import START, Walk
from cardflow.checkpoints import Checkpoint
from cardflow.db import audit
from cardflow.db.tables import AuditCheckpoint, AuditEntry
from cardflow.decisions import Signer
from cardflow.errors import Refused
from cardflow.sql import Sessions, looking, transaction


class Broken(Refused):
    """The chain is not what it was: look at it with ``cardflow audit verify`` before anything."""


async def make(sessions: Sessions, signer: Signer, root: str, now: datetime) -> Checkpoint | None:
    """Return the newest checkpoint, made now if entries came since; None over an empty chain.

    Nothing is signed over a chain that is broken since the last checkpoint; a clock that went wrong
    breaks none. Of two that are made at the same moment one stands: one can follow each.
    """
    async with looking(sessions) as session:
        row = await newest(session)
        last = checkpoints.read(row.token, root) if row else None
        walk = Walk(after=last, late=None)
        async for page in audit.pages(session, walk.number):
            for link in page:
                walk.take(link)
    if walk.tree.size == 0:
        return last
    if not (found := walk.close()).ok:
        raise Broken(f"the audit chain is broken at entry {found.broken_at}: {found.reason}")
    made = checkpoints.sign(_checkpoint(walk, last, now), signer)
    row = AuditCheckpoint(number=made.number, since=made.since, at=made.at, token=made.token)
    try:
        async with transaction(sessions) as session:  # no failpoint: the caller has one
            session.add(row)
    except IntegrityError:
        # Another process was faster; there may be entries behind its checkpoint by now.
        return await make(sessions, signer, root, now)
    return made


def _checkpoint(walk: Walk, last: Checkpoint | None, now: datetime) -> Checkpoint:
    return Checkpoint(
        number=walk.number,
        hash=walk.hash,
        at=now,
        count=walk.tree.size,
        previous=last.sha256 if last else START,
        tree=walk.tree.root().hex(),
    )


async def newest(session: AsyncSession) -> AuditCheckpoint | None:
    """Return the last checkpoint that was made."""
    query = select(AuditCheckpoint).order_by(col(AuditCheckpoint.number).desc()).limit(1)
    return (await session.scalars(query)).one_or_none()


async def uncovered(session: AsyncSession) -> int:
    """Return how many entries no checkpoint covers yet."""
    last = select(func.max(AuditCheckpoint.number)).scalar_subquery()
    end = select(func.max(AuditEntry.number)).scalar_subquery()
    found = await session.execute(select(end, last))
    reached, covered = found.one()
    return (reached or 0) - (covered or 0)


async def tokens(session: AsyncSession, after: int = 0) -> Sequence[str]:
    """Return the tokens of all checkpoints behind an entry, in order."""
    query = select(col(AuditCheckpoint.token)).where(col(AuditCheckpoint.number) > after)
    return (await session.scalars(query.order_by(col(AuditCheckpoint.number)))).all()


async def covering(session: AsyncSession, number: int) -> AuditCheckpoint | None:
    """Return the first checkpoint that covers an entry."""
    query = select(AuditCheckpoint).where(col(AuditCheckpoint.number) >= number)
    query = query.order_by(col(AuditCheckpoint.number)).limit(1)
    return (await session.scalars(query)).one_or_none()


async def hashes(session: AsyncSession, after: int, to: int) -> list[bytes]:
    """Return the hashes of the entries behind one entry, up to another."""
    number = col(AuditEntry.number)
    query = select(col(AuditEntry.hash)).where(number > after, number <= to).order_by(number)
    return [bytes.fromhex(text) for text in (await session.scalars(query)).all()]
