"""Mails as rows: queued with the event that asks for them, so nothing uncommitted mails."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import String, and_, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import AuditEntry, Mail, Person, Update
from cardflow.db.views import event_of, input_of
from cardflow.model import Event, MailKind, Party, Role, UpdateInput

NAMESPACE = uuid.UUID("5f1f0d1c-4f0a-5c58-9a53-6f1a4f2d7c11")
PARTIES = {
    Party.OPERATOR: (Role.OPERATOR,),
    Party.CA: (Role.OPERATOR,),
    Party.OFFICER: (Role.OFFICER,),
}
ROLES = {
    MailKind.DOCUMENT_RECEIVED: (Role.OPERATOR,),
    MailKind.ESCALATION: (Role.OPERATOR, Role.ADMIN),
}


@dataclass(frozen=True)
class Letter:
    """One mail to one person, with everything that its text needs."""

    id: str
    kind: MailKind
    message_id: str
    address: str
    person_id: str
    name: str
    language: str
    holder_name: str
    created_at: datetime
    event: Event
    update: UpdateInput


@dataclass(frozen=True)
class Posted:
    """What became of one mail: sent, to be tried again, or refused for good."""

    subject: str
    state: str  # sent queued failed
    error: str = ""


async def queue(session: AsyncSession, update: UpdateInput, event: Event, *, domain: str) -> None:
    """Leave one mail per recipient that the event asks for and the policy wants."""
    kind = wanted_kind(update, event)
    if kind is None:
        return
    for person in await _recipients(session, update, event, kind):
        key = str(uuid.uuid5(NAMESPACE, f"{update.update_id}/{event.number}/{person.id}"))
        session.add(
            Mail(
                id=key,
                update_id=update.update_id,
                event=event.number,
                kind=kind,
                person_id=person.id,
                address=person.email,
                message_id=f"<{key}@{domain}>",
                state="queued",
                created_at=event.at,
            )
        )


def wanted_kind(update: UpdateInput, event: Event) -> MailKind | None:
    """Return which mail the event sends under the policy, if any."""
    notified = update.policy.notifications
    if event.mail in notified:
        return event.mail
    if event.ready and MailKind.READY_TO_CONTINUE in notified:
        return MailKind.READY_TO_CONTINUE
    return None


async def _recipients(
    session: AsyncSession, update: UpdateInput, event: Event, kind: MailKind
) -> Sequence[Person]:
    roles = ROLES.get(kind, ())
    if kind is MailKind.REMINDER:
        roles = PARTIES.get(Party(event.facts["party"]), ())
    if not roles:
        holder = await session.get(Person, update.holder_id)
        return [holder] if holder and holder.active else []
    # Whoever holds the card or opened the update may not decide on it.
    query = select(Person).where(
        col(Person.active).is_(True),
        or_(*(cast(col(Person.roles), String).like(f'%"{role}"%') for role in roles)),
        col(Person.id).not_in((update.holder_id, update.started_by)),
    )
    return (await session.scalars(query.order_by(col(Person.id)))).all()


async def queued_for(session: AsyncSession, update_id: str, events: Sequence[Event]) -> list[str]:
    """Return the mails of these events that were not sent yet."""
    query = select(col(Mail.id)).where(
        col(Mail.update_id) == update_id,
        col(Mail.event).in_([event.number for event in events]),
        col(Mail.state) == "queued",
    )
    return list((await session.scalars(query.order_by(col(Mail.event), col(Mail.id)))).all())


async def letters(session: AsyncSession, ids: Sequence[str]) -> list[Letter]:
    """Return those of the mails that are still to be sent, in order."""
    query = (
        select(Mail, Person, Update, AuditEntry)
        .join(Person, col(Person.id) == col(Mail.person_id))
        .join(Update, col(Update.id) == col(Mail.update_id))
        .join(
            AuditEntry,
            and_(
                col(AuditEntry.update_id) == col(Mail.update_id),
                col(AuditEntry.event) == col(Mail.event),
            ),
        )
        .where(col(Mail.id).in_(ids), col(Mail.state) == "queued")
        .order_by(col(Mail.event), col(Mail.id))
    )
    found = []
    for mail, person, update, entry in (await session.execute(query)).all():
        holder = await session.get(Person, update.holder_id)
        found.append(
            Letter(
                id=mail.id,
                kind=MailKind(mail.kind),
                message_id=mail.message_id,
                address=mail.address,
                person_id=person.id,
                name=person.name,
                language=person.language,
                holder_name=holder.name if holder else "",
                created_at=mail.created_at,
                event=event_of(entry),
                update=input_of(update),
            )
        )
    return found


async def mark(session: AsyncSession, outcomes: Mapping[str, Posted]) -> None:
    """Leave what became of each mail; one that was sent meanwhile stays sent."""
    for mail_id, posted in outcomes.items():
        mail = await session.get_one(Mail, mail_id)
        if mail.state == "sent":
            continue
        mail.state, mail.subject, mail.error = posted.state, posted.subject, posted.error
        mail.sent_at = datetime.now(UTC) if posted.state == "sent" else None
