"""Digests: what waits for an operator's check, in one mail instead of one per document.

A mail about a document that is folded stays on record under its event; ``digest_id`` names the
digest that told of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.mail_queue import DAILY, DOCUMENT_WAITS, letter_to, mail_id, mail_to
from cardflow.db.tables import UNTOLD, Mail, Person, Update, WaitingFor
from cardflow.mail.letters import DIGEST, Entry, Letter
from cardflow.model import Role

MOST_ENTRIES = 50  # the mail says how many more there are
NONE_NEEDED = "none"


@dataclass(frozen=True)
class Rhythm:
    """How often digests may come."""

    every: timedelta  # those that come by themselves, at most
    daily_hour: int  # in their time zone, for people who chose one a day
    time_zone: str = "UTC"  # of people who chose none


async def queue_digests(
    session: AsyncSession, now: datetime, rhythm: Rhythm, *, domain: str
) -> None:
    """Leave one digest for everybody whose folded mails are due to be told."""
    pending = select(col(Mail.person_id), func.min(Mail.created_at)).where(UNTOLD)
    for person_id, oldest in (await session.execute(pending.group_by(col(Mail.person_id)))).all():
        person = await session.get_one(Person, person_id)
        if is_due(person, oldest, await _last(session, person_id), now, rhythm):
            await _queue(session, person, now, domain)


def is_due(
    person: Person, oldest: datetime, last: datetime | None, now: datetime, rhythm: Rhythm
) -> bool:
    """Tell whether the person gets a digest now: ``oldest`` waits, ``last`` was the one before."""
    if person.mail_digest == DAILY:
        there = now.astimezone(ZoneInfo(person.time_zone or rhythm.time_zone))
        slot = there.replace(hour=rhythm.daily_hour, minute=0, second=0, microsecond=0)
        return oldest < (slot if slot <= there else slot - timedelta(days=1))
    return last is None or last + rhythm.every <= now


async def _last(session: AsyncSession, person_id: str) -> datetime | None:
    query = select(col(Mail.created_at)).where(
        col(Mail.person_id) == person_id, col(Mail.kind) == DIGEST
    )
    newest = query.order_by(col(Mail.created_at).desc()).limit(1)
    return (await session.scalars(newest)).one_or_none()


async def _queue(session: AsyncSession, person: Person, now: datetime, domain: str) -> None:
    key = NONE_NEEDED
    if person.active and Role.OPERATOR in person.roles and await _waiting(session, person.id):
        key = mail_id(f"{DIGEST}/{person.id}/{now.isoformat()}")
        session.add(mail_to(person, key, DIGEST, now=now, domain=domain))
        await session.flush()
    folded = update(Mail).where(col(Mail.person_id) == person.id, UNTOLD)
    await session.execute(folded.values(digest_id=key))


async def letter(session: AsyncSession, mail: Mail, person: Person) -> Letter:
    """Return the digest as it is true now."""
    return replace(
        letter_to(mail, person, "/work"),
        entries=tuple(await _entries(session, person.id)),
        waiting=await _waiting(session, person.id),
    )


async def _waiting(session: AsyncSession, person_id: str) -> int:
    query = select(func.count()).select_from(_awaiting(person_id).subquery())
    return await session.scalar(query) or 0


async def _entries(session: AsyncSession, person_id: str) -> Sequence[Entry]:
    query = _awaiting(person_id).order_by(
        col(WaitingFor.since), col(WaitingFor.update_id), col(WaitingFor.lane)
    )
    rows = (await session.execute(query.limit(MOST_ENTRIES))).all()
    return [
        Entry(waits.update_id, name or "", waits.lane, waits.what, waits.since, waits.until)
        for waits, name in rows
    ]


def _awaiting(person_id: str) -> Select[WaitingFor, str]:
    """What the person may check: nobody decides on their own card, or on what they opened."""
    return (
        select(WaitingFor, col(Person.name))
        .join(Update, col(Update.id) == col(WaitingFor.update_id))
        .join(Person, col(Person.id) == col(WaitingFor.holder_id), isouter=True)
        .where(
            DOCUMENT_WAITS,
            col(WaitingFor.holder_id) != person_id,
            col(Update.started_by) != person_id,
        )
    )
