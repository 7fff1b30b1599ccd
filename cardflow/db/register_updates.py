"""Queries about updates, their documents and mails, the journal of actions, and the work lists."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import (
    AuditEntry,
    Card,
    Certificate,
    Debt,
    Document,
    JournalAnswer,
    JournalEntry,
    Mail,
    Person,
    Update,
    UpdateLane,
    WaitingFor,
)
from cardflow.db.views import input_of

# Updates


async def find_update(session: AsyncSession, update_id: str) -> Update | None:
    """Return the update."""
    return await session.get(Update, update_id)


async def open_update_on(session: AsyncSession, card_id: str) -> Update | None:
    """Return the update that is open on the card, as far as is on record."""
    query = select(Update).where(col(Update.card_id) == card_id, col(Update.ended_at).is_(None))
    return (await session.scalars(query.order_by(col(Update.id).desc()).limit(1))).first()


@dataclass(frozen=True)
class Wanted:
    """Which updates are asked for; an empty word does not narrow."""

    stage: str = ""
    card_id: str = ""
    holder_id: str = ""
    open: bool | None = None


async def list_updates(
    session: AsyncSession, wanted: Wanted, *, before: str, limit: int
) -> list[Update]:
    """Return updates, the newest first, older ones than ``before`` only."""
    query = select(Update).order_by(col(Update.id).desc()).limit(limit)
    if before:
        query = query.where(col(Update.id) < before)
    for column, word in (
        (Update.stage, wanted.stage),
        (Update.card_id, wanted.card_id),
        (Update.holder_id, wanted.holder_id),
    ):
        if word:
            query = query.where(col(column) == word)
    if wanted.open is not None:
        is_open = col(Update.ended_at).is_(None)
        query = query.where(is_open if wanted.open else ~is_open)
    return list((await session.scalars(query)).all())


@dataclass(frozen=True)
class Patience:
    """How long an update lets people wait: for a reminder, and at all."""

    reminder_hours: int
    due_at: datetime


async def patience_of(session: AsyncSession, update_ids: Collection[str]) -> dict[str, Patience]:
    """Return the patience of updates by id; what is no update is left out."""
    query = select(Update).where(col(Update.id).in_(update_ids))
    return {
        row.id: Patience(input_of(row).policy.reminder_hours, row.due_at)
        for row in (await session.scalars(query)).all()
    }


async def lanes_of(session: AsyncSession, update_id: str) -> dict[str, UpdateLane]:
    """Return the stored texts of an update's lanes by lane."""
    query = select(UpdateLane).where(col(UpdateLane.update_id) == update_id)
    return {row.lane: row for row in (await session.scalars(query)).all()}


async def timeline(session: AsyncSession, update_id: str) -> list[AuditEntry]:
    """Return what happened to the update, in order."""
    query = select(AuditEntry).where(col(AuditEntry.update_id) == update_id)
    return list((await session.scalars(query.order_by(col(AuditEntry.number)))).all())


async def mails_of(session: AsyncSession, update_id: str) -> list[Mail]:
    """Return the mails about the update, in order."""
    query = select(Mail).where(col(Mail.update_id) == update_id)
    return list((await session.scalars(query.order_by(col(Mail.event), col(Mail.id)))).all())


async def names_of(session: AsyncSession, person_ids: Collection[str]) -> dict[str, str]:
    """Return people's names by id; who is not registered is left out."""
    query = select(Person).where(col(Person.id).in_(person_ids))
    return {person.id: person.name for person in (await session.scalars(query)).all()}


# What is known of a card


async def certificates_of(session: AsyncSession, card_id: str) -> dict[str, Certificate]:
    """Return the certificates that we know on the card, by the SHA-256 of their DER."""
    query = select(Certificate).where(col(Certificate.card_id) == card_id)
    return {row.sha256: row for row in (await session.scalars(query)).all()}


async def registered_certificate(session: AsyncSession, serial_number: str) -> Certificate | None:
    """Return the register's record of a certificate that we had issued."""
    query = select(Certificate).where(
        col(Certificate.serial_number) == serial_number, col(Certificate.kind) == "managed"
    )
    return (await session.scalars(query.limit(1))).first()


async def unpaid_debts(session: AsyncSession, card_id: str) -> list[Debt]:
    """Return what must still go from the card at its next visit."""
    query = select(Debt).where(col(Debt.card_id) == card_id, col(Debt.paid_at).is_(None))
    return list((await session.scalars(query.order_by(col(Debt.recorded_at)))).all())


# Documents


async def find_document(session: AsyncSession, document_id: str) -> Document | None:
    """Return the document's record."""
    return await session.get(Document, document_id)


async def documents_of(session: AsyncSession, update_id: str) -> list[Document]:
    """Return the forms that we issued and the documents that came in, in order."""
    query = select(Document).where(col(Document.update_id) == update_id)
    return list((await session.scalars(query.order_by(col(Document.created_at)))).all())


async def issued_forms(session: AsyncSession, update_id: str, lane: str) -> list[Document]:
    """Return the forms that were printed for a lane, in order."""
    query = select(Document).where(
        col(Document.update_id) == update_id,
        col(Document.lane) == lane,
        col(Document.direction) == "issued",
    )
    return list((await session.scalars(query.order_by(col(Document.created_at)))).all())


# The journal


async def journalled(session: AsyncSession, action_id: str) -> JournalEntry | None:
    """Return the journal's entry of an action."""
    query = select(JournalEntry).where(col(JournalEntry.action_id) == action_id)
    return (await session.scalars(query)).one_or_none()


async def journal_of(
    session: AsyncSession, update_id: str
) -> list[tuple[JournalEntry, JournalAnswer | None]]:
    """Return the actions on an update that were journalled, each with its answer, in order."""
    query = (
        select(JournalEntry, JournalAnswer)
        .join(
            JournalAnswer,
            col(JournalAnswer.action_id) == col(JournalEntry.action_id),
            isouter=True,
        )
        .where(col(JournalEntry.update_id) == update_id)
        .order_by(col(JournalEntry.number))
    )
    return [(entry, answer) for entry, answer in (await session.execute(query)).all()]


async def answer_to(session: AsyncSession, action_id: str) -> JournalAnswer | None:
    """Return what the workflow answered to an action."""
    return await session.get(JournalAnswer, action_id)


# Work lists


@dataclass(frozen=True)
class Work:
    """Something that an update waits for, and whose card it is about."""

    waiting: WaitingFor
    update: Update
    card: Card
    holder: Person | None


async def work_for(
    session: AsyncSession,
    *,
    person_id: str,
    parties: Collection[str],
    after: tuple[datetime, str, str] | None,
    limit: int,
) -> list[Work]:
    """Return what waits for a person, what waits longest first.

    That is their own part in their own updates, and for ``parties`` everybody else's updates:
    nobody decides on their own card.
    """
    query = (
        select(WaitingFor, Update, Card, Person)
        .join(Update, col(Update.id) == col(WaitingFor.update_id))
        .join(Card, col(Card.id) == col(Update.card_id))
        .join(Person, col(Person.id) == col(WaitingFor.holder_id), isouter=True)
        .where(_concerns(person_id, parties))
        .order_by(col(WaitingFor.since), col(WaitingFor.update_id), col(WaitingFor.lane))
        .limit(limit)
    )
    if after:
        query = query.where(_later_than(*after))
    rows = (await session.execute(query)).all()
    return [Work(waiting, update, card, holder) for waiting, update, card, holder in rows]


def _concerns(person_id: str, parties: Collection[str]) -> ColumnElement[bool]:
    is_own = col(WaitingFor.holder_id) == person_id
    own = and_(is_own, col(WaitingFor.party).in_(("holder", "agent")))
    return or_(own, and_(~is_own, col(WaitingFor.party).in_(parties)))


def _later_than(since: datetime, update_id: str, lane: str) -> ColumnElement[bool]:
    at, update, of = col(WaitingFor.since), col(WaitingFor.update_id), col(WaitingFor.lane)
    same_time = and_(at == since, or_(update > update_id, and_(update == update_id, of > lane)))
    return or_(at > since, same_time)
