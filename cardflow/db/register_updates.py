"""Queries about updates, their documents and mails, and the journal of actions."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select, tuple_
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
)
from cardflow.db.views import input_of
from cardflow.model import CertificateKind

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
    policy_name: str = ""
    search: str = ""
    open: bool | None = None


async def list_updates(
    session: AsyncSession, wanted: Wanted, *, before: str, limit: int
) -> list[Update]:
    """Return updates, the newest first, older ones than ``before`` only."""
    # Ids are made from Idempotency-Keys, so they say nothing about time.
    age = (col(Update.opened_at), col(Update.id))
    query = select(Update).order_by(*(column.desc() for column in age)).limit(limit)
    if before:
        known = select(col(Update.opened_at)).where(col(Update.id) == before).scalar_subquery()
        query = query.where(tuple_(*age) < tuple_(known, before))
    for column, word in (
        (Update.stage, wanted.stage),
        (Update.card_id, wanted.card_id),
        (Update.holder_id, wanted.holder_id),
        (Update.policy_name, wanted.policy_name),
    ):
        if word:
            query = query.where(col(column) == word)
    if wanted.search:
        query = query.where(_about(wanted.search))
    if wanted.open is not None:
        is_open = col(Update.ended_at).is_(None)
        query = query.where(is_open if wanted.open else ~is_open)
    return list((await session.scalars(query)).all())


def _about(search: str) -> ColumnElement[bool]:
    """Tell whether the words are in the holder's name or login, or the card's serial or label."""
    people = select(col(Person.id)).where(_has(search, Person.name, Person.login))
    cards = select(col(Card.id)).where(_has(search, Card.token_serial, Card.token_label))
    return or_(col(Update.holder_id).in_(people), col(Update.card_id).in_(cards))


def _has(search: str, *columns: str) -> ColumnElement[bool]:
    return or_(*(col(column).icontains(search, autoescape=True) for column in columns))


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


async def find_mail(session: AsyncSession, mail_id: str) -> Mail | None:
    """Return the mail."""
    return await session.get(Mail, mail_id)


async def mails_to(
    session: AsyncSession, person_id: str, *, before: tuple[datetime, str] | None, limit: int
) -> list[Mail]:
    """Return the mails to a person, the newest first."""
    at, key = col(Mail.created_at), col(Mail.id)
    query = select(Mail).where(col(Mail.person_id) == person_id)
    if before:
        query = query.where(or_(at < before[0], and_(at == before[0], key < before[1])))
    query = query.order_by(at.desc(), key.desc()).limit(limit)
    return list((await session.scalars(query)).all())


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


async def signer_of(session: AsyncSession, sha256: str) -> tuple[Certificate, Person] | None:
    """Return the certificate that we had issued, and the person for whom."""
    query = (
        select(Certificate, Person)
        .join(Update, col(Update.id) == col(Certificate.update_id))
        .join(Person, col(Person.id) == col(Update.holder_id))
        .where(col(Certificate.sha256) == sha256, col(Certificate.kind) == CertificateKind.MANAGED)
    )
    found = (await session.execute(query)).first()
    return (found[0], found[1]) if found else None


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
