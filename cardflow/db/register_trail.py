"""Queries over the audit trail; its chain is ``cardflow.db.audit``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import AuditCheck, AuditEntry, Update

ABOUT_CARDS = ("card_added", "card_changed", "card_reported_lost")  # their facts name a card


@dataclass(frozen=True)
class Wanted:
    """Which entries are asked for; an empty word does not narrow."""

    update_id: str = ""
    kind: str = ""
    actor: str = ""
    card_id: str = ""
    since: datetime | None = None
    before: datetime | None = None
    newest_first: bool = False


async def list_entries(
    session: AsyncSession, wanted: Wanted, *, after: int, limit: int
) -> list[AuditEntry]:
    """Return the entries that follow ``after`` in the wanted order; 0 is before the first."""
    number = col(AuditEntry.number)
    query = _narrowed(select(AuditEntry), wanted)
    if after:
        query = query.where(number < after if wanted.newest_first else number > after)
    query = query.order_by(number.desc() if wanted.newest_first else number).limit(limit)
    return list((await session.scalars(query)).all())


def _narrowed(query: "Select[Any]", wanted: Wanted) -> "Select[Any]":
    for column, word in (
        (AuditEntry.update_id, wanted.update_id),
        (AuditEntry.kind, wanted.kind),
        (AuditEntry.actor, wanted.actor),
    ):
        if word:
            query = query.where(col(column) == word)
    if wanted.card_id:
        query = query.where(_about_card(wanted.card_id))
    if wanted.since:
        query = query.where(col(AuditEntry.at) >= wanted.since)
    if wanted.before:
        query = query.where(col(AuditEntry.at) < wanted.before)
    return query


def _about_card(card_id: str) -> ColumnElement[bool]:
    """What happened to its updates, and to the card itself; each half has its index."""
    updates = select(col(Update.id)).where(col(Update.card_id) == card_id)
    in_updates = select(col(AuditEntry.number)).where(col(AuditEntry.update_id).in_(updates))
    itself = select(col(AuditEntry.number)).where(
        col(AuditEntry.kind).in_(ABOUT_CARDS),
        col(AuditEntry.text).contains(f'"card_id":"{card_id}"', autoescape=True),
    )
    return col(AuditEntry.number).in_(union(in_updates, itself))


async def kinds_of_entries(session: AsyncSession) -> Sequence[str]:
    """Return every kind of entry that there is, by steps over the index."""
    found: list[str] = []
    query = select(func.min(AuditEntry.kind))
    kind = await session.scalar(query)
    while kind is not None:
        found.append(kind)
        kind = await session.scalar(query.where(col(AuditEntry.kind) > kind))
    return found


async def last_number(session: AsyncSession) -> int:
    """Return the number of the newest entry; 0 when there is none."""
    return await session.scalar(select(func.max(AuditEntry.number))) or 0


# Checks of the whole chain


async def find_check(session: AsyncSession, check_id: str) -> AuditCheck | None:
    """Return a check."""
    return await session.get(AuditCheck, check_id)


async def list_checks(session: AsyncSession, *, before: str, limit: int) -> list[AuditCheck]:
    """Return checks, the newest first; their ids sort by when they began."""
    query = select(AuditCheck).order_by(col(AuditCheck.id).desc()).limit(limit)
    if before:
        query = query.where(col(AuditCheck.id) < before)
    return list((await session.scalars(query)).all())
