"""The audit chain: every entry carries the hash of the one before, so an edit breaks what follows.

``hash = sha256(domain, previous hash, number, text)``; ``text`` is canonical JSON, kept exactly as
it was hashed. The columns beside it are for searching; ``verify`` compares them with the text.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import AuditEntry

DOMAIN = b"cardflow-audit-v1\0"
START = "0" * 64
LOCK = 4_711_001  # any number, as long as nobody else takes it
PAGE = 1_000


@dataclass(frozen=True)
class Entry:
    """What is to be remembered for ever; ``facts`` are JSON types."""

    kind: str
    at: datetime
    actor: str = ""
    update_id: str = ""
    event: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """Whether the chain is whole; if not, the first entry that is not, and why."""

    ok: bool
    entries: int
    broken_at: int | None = None
    reason: str = ""


async def append(session: AsyncSession, entry: Entry) -> AuditEntry:
    """Return the new end of the chain; it is there when the transaction commits."""
    (link,) = await append_all(session, [entry])
    return link


async def append_all(session: AsyncSession, entries: Sequence[Entry]) -> list[AuditEntry]:
    """Return the new links of the chain, in order; they are there when the transaction commits."""
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
        hash=_hash(previous, number, written),
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


def _hash(previous: str, number: int, written: str) -> str:
    digest = hashlib.sha256(DOMAIN)
    digest.update(bytes.fromhex(previous) + number.to_bytes(8, "big") + written.encode())
    return digest.hexdigest()


async def verify(session: AsyncSession) -> Verification:
    """Return whether every entry is as it was written and none is missing before the last."""
    number, previous = 0, START
    while page := await _page(session, number):
        for link in page:
            if reason := _objection(link, number + 1, previous):
                return Verification(False, number, number + 1, reason)
            number, previous = link.number, link.hash
        session.expunge_all()
    return Verification(True, number)


async def _page(session: AsyncSession, after: int) -> list[AuditEntry]:
    query = select(AuditEntry).where(col(AuditEntry.number) > after)
    return list(await session.scalars(query.order_by(col(AuditEntry.number)).limit(PAGE)))


def _objection(link: AuditEntry, number: int, previous: str) -> str:
    if link.number != number:
        return f"entry {number} is missing"
    if link.previous != previous:
        return "it does not follow the entry before it"
    if link.hash != _hash(previous, number, link.text):
        return "its text was changed"
    if _columns(link) != _written_columns(link.text):
        return "a column beside its text was changed"
    return ""


def _columns(link: AuditEntry) -> tuple[object, ...]:
    at = link.at.astimezone(UTC).isoformat()
    return link.kind, at, link.actor, link.update_id, link.event


def _written_columns(written: str) -> tuple[object, ...]:
    told = json.loads(written)
    return told["kind"], told["at"], told["actor"], told["update_id"], told["event"]
