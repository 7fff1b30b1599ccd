"""Mails as rows: queued with the event that asks for them, so nothing uncommitted mails."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import String, and_, cast, func, not_, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import AuditEntry, Document, Mail, Person, WaitingFor
from cardflow.db.views import event_of
from cardflow.lifecycle import CHECKS
from cardflow.mail.letters import Letter
from cardflow.model import Event, EventKind, MailKind, Party, Role, UpdateInput

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
DAILY = "daily"
DOCUMENT_WAITS = and_(
    col(WaitingFor.party) == Party.OPERATOR.value, col(WaitingFor.what).in_(CHECKS)
)


@dataclass(frozen=True)
class Postage:
    """How mails are queued: what Message-IDs end with, and when documents go into a digest."""

    domain: str
    digest_above: int  # so many documents may wait before operators get digests


@dataclass(frozen=True)
class Posted:
    """What became of one mail: sent, to be tried again, or refused for good."""

    subject: str
    state: str  # sent queued failed
    error: str = ""


async def queue(
    session: AsyncSession, update: UpdateInput, event: Event, *, postage: Postage
) -> None:
    """Leave one mail per recipient that the event asks for and the policy wants."""
    kind = wanted_kind(update, event)
    if kind is None:
        return
    crowded = kind is MailKind.DOCUMENT_RECEIVED and await _is_crowded(
        session, update, event, postage.digest_above
    )
    for person in await _recipients(session, update, event, kind):
        daily = kind is MailKind.DOCUMENT_RECEIVED and person.mail_digest == DAILY
        key = mail_id(f"{update.update_id}/{event.number}/{person.id}")
        mail = mail_to(person, key, kind, now=event.at, domain=postage.domain)
        mail.update_id, mail.event = update.update_id, event.number
        mail.state = "folded" if crowded or daily else "queued"
        session.add(mail)


def mail_id(natural_key: str) -> str:
    """Return the id of the one mail with this natural key."""
    return str(uuid.uuid5(NAMESPACE, natural_key))


def mail_to(person: Person, key: str, kind: str, *, now: datetime, domain: str) -> Mail:
    """Return a mail that waits to be sent; what it is about, the caller adds."""
    return Mail(
        id=key,
        update_id="",
        event=0,
        kind=kind,
        person_id=person.id,
        address=person.email,
        message_id=f"<{key}@{domain}>",
        state="queued",
        created_at=now,
    )


def letter_to(mail: Mail, person: Person, path: str) -> Letter:
    """Return whom a mail goes to and where its link leads; what it tells, the caller adds."""
    return Letter(
        id=mail.id,
        kind=mail.kind,
        message_id=mail.message_id,
        address=mail.address,
        person_id=person.id,
        name=person.name,
        language=person.language,
        time_zone=person.time_zone,
        created_at=mail.created_at,
        path=path,
    )


async def _is_crowded(session: AsyncSession, update: UpdateInput, event: Event, most: int) -> bool:
    this = and_(col(WaitingFor.update_id) == update.update_id, col(WaitingFor.lane) == event.lane)
    others = select(func.count()).select_from(WaitingFor).where(DOCUMENT_WAITS, not_(this))
    return (await session.scalar(others) or 0) > most


def wanted_kind(update: UpdateInput, event: Event) -> MailKind | None:
    """Return which mail the event sends under the policy, if any."""
    notified = update.policy.notifications
    if event.mail in notified:
        return event.mail
    if event.ready and MailKind.READY_TO_CONTINUE in notified:
        return MailKind.READY_TO_CONTINUE
    return None


def recipients_of(kind: MailKind) -> tuple[Role, ...]:
    """Return the roles that get mails of the kind; a reminder goes to whoever is waited for."""
    if kind is MailKind.REMINDER:
        return (Role.HOLDER, Role.OPERATOR, Role.OFFICER)
    return ROLES.get(kind, (Role.HOLDER,))


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


async def queued_beside_updates(session: AsyncSession) -> list[str]:
    """Return the digests and warnings that were not sent yet."""
    query = select(col(Mail.id)).where(col(Mail.update_id) == "", col(Mail.state) == "queued")
    return list((await session.scalars(query.order_by(col(Mail.id)))).all())


async def left_of_updates(session: AsyncSession, before: datetime) -> dict[str, list[str]]:
    """Return by update the mails that were queued before an instant and not sent yet."""
    query = select(col(Mail.update_id), col(Mail.id)).where(
        col(Mail.state) == "queued", col(Mail.update_id) != "", col(Mail.created_at) < before
    )
    found: dict[str, list[str]] = {}
    for update_id, key in await session.execute(query.order_by(col(Mail.created_at), col(Mail.id))):
        found.setdefault(update_id, []).append(key)
    return found


async def list_mails(
    session: AsyncSession, *, state: str, before: tuple[datetime, str] | None, limit: int
) -> list[Mail]:
    """Return mails, the newest first, older ones than ``before`` only."""
    at, key = col(Mail.created_at), col(Mail.id)
    query = select(Mail).order_by(at.desc(), key.desc()).limit(limit)
    if state:
        query = query.where(col(Mail.state) == state)
    if before:
        query = query.where(tuple_(at, key) < tuple_(*before))
    return list((await session.scalars(query)).all())


async def queue_form(
    session: AsyncSession, holder: Person, form: Document, event: int, *, key: str, domain: str
) -> Mail:
    """Leave a mail that brings the holder the form which ``event`` asked for."""
    mail = mail_to(holder, key, MailKind.DOCUMENT_NEEDED, now=datetime.now(UTC), domain=domain)
    mail.update_id, mail.event, mail.document_id = form.update_id, event, form.id
    session.add(mail)
    await session.flush()
    return mail


async def event_asking_for(session: AsyncSession, form: Document) -> int | None:
    """Return the number of the event that said that this form is needed."""
    query = select(AuditEntry).where(
        col(AuditEntry.update_id) == form.update_id,
        col(AuditEntry.kind) == EventKind.DOCUMENT_NEEDED.value,
    )
    for entry in await session.scalars(query.order_by(col(AuditEntry.number).desc())):
        event = event_of(entry)
        if (event.lane, event.facts.get("form")) == (form.lane, form.kind):
            return event.number
    return None


async def mark(session: AsyncSession, outcomes: Mapping[str, Posted]) -> None:
    """Leave what became of each mail; one that was sent meanwhile stays sent."""
    for key, posted in outcomes.items():
        mail = await session.get_one(Mail, key)
        if mail.state == "sent":
            continue
        mail.state, mail.subject, mail.error = posted.state, posted.subject, posted.error
        mail.sent_at = datetime.now(UTC) if posted.state == "sent" else None
