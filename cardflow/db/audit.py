"""The audit chain in the database: appending to it, and reading it for ``cardflow.chain`` to judge.

Every entry carries the hash of the one before, so an edit breaks what follows.

The order of locks, for all transactions: rows first, the chain's end last. Whoever appends holds up
every other writer until the commit, so they wait for nobody meanwhile: what others may change too
is changed, or locked, before the first ``append``. Cards are locked after their update's row, and
several of them in the order of their ids.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.chain import START, Link, Verification, Walk, link_hash
from cardflow.checkpoints import Checkpoint, Finding
from cardflow.db.tables import AuditEntry

LOCK = 4_711_001  # any number, as long as nobody else takes it
PAGE = 1_000
COLUMNS = tuple(getattr(AuditEntry, name) for name in Link._fields)


@dataclass(frozen=True)
class Entry:
    """What is to be remembered for ever; ``facts`` are JSON types."""

    kind: str
    at: datetime
    actor: str = ""
    update_id: str = ""
    event: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


async def append(session: AsyncSession, entry: Entry) -> AuditEntry:
    """Return the new end of the chain; it is there when the transaction commits."""
    (link,) = await append_all(session, [entry])
    return link


async def holds(session: AsyncSession, entry: Entry) -> bool:
    """Tell whether the same was remembered before, at whatever time."""
    query = select(col(AuditEntry.text)).where(
        col(AuditEntry.kind) == entry.kind,
        col(AuditEntry.update_id) == entry.update_id,
        col(AuditEntry.actor) == entry.actor,
    )
    facts = dict(entry.facts)
    return any(json.loads(x)["facts"] == facts for x in (await session.scalars(query)).all())


async def append_all(session: AsyncSession, entries: Sequence[Entry]) -> list[AuditEntry]:
    """Return the new links of the chain, in order; they are there when the transaction commits."""
    await session.flush()  # rows first
    if not entries:
        return []
    await _lock(session)
    newest = select(func.max(AuditEntry.number)).scalar_subquery()
    query = select(AuditEntry).where(col(AuditEntry.number) == newest)
    last = (await session.scalars(query)).one_or_none()
    links = []
    for entry in entries:
        last = _link(entry, last)
        links.append(last)
    session.add_all(links)
    await session.flush()
    return links


def _link(entry: Entry, last: AuditEntry | None) -> AuditEntry:
    number, previous = (last.number + 1, last.hash) if last else (1, START)
    written = _text(entry)
    return AuditEntry(
        number=number,
        at=entry.at,
        kind=entry.kind,
        update_id=entry.update_id,
        event=entry.event,
        actor=entry.actor,
        text=written,
        previous=previous,
        hash=link_hash(previous, number, written),
    )


async def _lock(session: AsyncSession) -> None:
    """Let one writer at a time extend the chain; SQLite's transactions already begin so."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _text(entry: Entry) -> str:
    content = {
        "kind": entry.kind,
        "at": entry.at.astimezone(UTC).isoformat(),
        "actor": entry.actor,
        "update_id": entry.update_id,
        "event": entry.event,
        "facts": dict(entry.facts),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# Checking


async def verify(
    session: AsyncSession,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    known: Sequence[Finding] = (),
    now: datetime | None = None,
) -> Verification:
    """Return whether every entry is as it was written, none is missing, and checkpoints agree."""
    walk = Walk(checkpoints, known=known, now=now)
    async for _ in walking(session, walk):
        pass
    return walk.close()


async def walking(session: AsyncSession, walk: Walk) -> AsyncIterator[int]:
    """Have ``walk`` take every link, and yield now and then how far it came.

    The hashing is done beside the event loop: whoever serves people goes on serving them.
    """
    async for page in pages(session):
        await asyncio.to_thread(_take, walk, page)
        yield walk.number


def _take(walk: Walk, page: Sequence[Link]) -> None:
    for link in page:
        walk.take(link)


async def pages(session: AsyncSession, after: int = 0) -> AsyncIterator[Sequence[Link]]:
    """Yield the links behind an entry, some at a time."""
    while page := await page_after(session, after):
        yield page
        after = page[-1].number


async def page_after(session: AsyncSession, number: int) -> Sequence[Link]:
    """Return the next links behind an entry."""
    query = select(*COLUMNS).where(col(AuditEntry.number) > number)
    rows = await session.execute(query.order_by(col(AuditEntry.number)).limit(PAGE))
    return [Link._make(row) for row in rows.all()]
