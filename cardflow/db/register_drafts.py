"""What administrators look at before it counts: theirs alone, and forgotten after a day."""

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Draft
from cardflow.model import new_id

KEPT = timedelta(days=1)


async def keep_draft(
    session: AsyncSession, *, person_id: str, kind: str, content: bytes, now: datetime
) -> Draft:
    """Leave the draft to be looked at again."""
    row = Draft(id=new_id(), person_id=person_id, kind=kind, content=content, created_at=now)
    session.add(row)
    await session.flush()
    return row


async def find_draft(session: AsyncSession, draft_id: str, *, alone: bool = False) -> Draft | None:
    """Return the draft; ``alone``: nobody else can put it in force until this transaction ends."""
    return await session.get(Draft, draft_id, with_for_update=alone)


async def forget_drafts(session: AsyncSession, *, now: datetime) -> None:
    """Remove the drafts that nobody comes back to any more."""
    await session.execute(delete(Draft).where(col(Draft.created_at) <= now - KEPT))
