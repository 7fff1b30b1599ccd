"""Queued mails as letters: joined with everything that their texts need."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db import agent_mails, digests, notices
from cardflow.db.expiry import letter as _about_certificate
from cardflow.db.mail_queue import letter_to
from cardflow.db.mail_texts import texts_for
from cardflow.db.tables import AuditEntry, Document, Mail, Person, Update
from cardflow.db.views import event_of, input_of
from cardflow.lifecycle import form_signature
from cardflow.mail.letters import DIGEST, NEW_AGENT, Enclosure, Letter
from cardflow.model import (
    DocumentExchange,
    DocumentKind,
    Event,
    EventKind,
    FormSignature,
    LanePlan,
    MailKind,
    Mode,
    UpdateInput,
)

ENCLOSED = ("application/pdf", "image/png", "image/jpeg")


async def letters(session: AsyncSession, ids: Sequence[str]) -> list[Letter]:
    """Return those of the mails that are still to be sent, in order."""
    query = (
        select(Mail, Person)
        .join(Person, col(Person.id) == col(Mail.person_id))
        .where(col(Mail.id).in_(ids), col(Mail.state) == "queued")
        .order_by(col(Mail.event), col(Mail.id))
    )
    rows = (await session.execute(query)).all()
    found = [await _letter(session, mail, person) for mail, person in rows]
    return [letter for letter in found if letter]


async def _letter(session: AsyncSession, mail: Mail, person: Person) -> Letter | None:
    if mail.kind == DIGEST:
        return await digests.letter(session, mail, person)
    if mail.kind == NEW_AGENT:
        return await agent_mails.letter(session, mail, person)
    if mail.kind in notices.ABOUT:
        return await notices.letter(session, mail, person)
    about = _about_certificate if mail.certificate_sha256 else _about_update
    found = await about(session, mail, person)
    if found is None:
        return None
    letter, policy_name = found
    earlier = await _earlier(session, mail)
    return replace(
        letter, earlier=earlier, texts=await texts_for(session, policy_name, letter.kind)
    )


async def _about_update(
    session: AsyncSession, mail: Mail, person: Person
) -> tuple[Letter, str] | None:
    query = select(Update, AuditEntry).join(AuditEntry, col(AuditEntry.update_id) == col(Update.id))
    query = query.where(col(Update.id) == mail.update_id, col(AuditEntry.event) == mail.event)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    update, event = input_of(row[0]), event_of(row[1])
    holder = await session.get(Person, update.holder_id)
    letter = letter_of(mail, person, update, event, holder_name=holder.name if holder else "")
    if letter.kind == MailKind.DOCUMENT_RECEIVED and update.policy.attach_documents:
        document_id = event.facts.get("document_id", "")
        letter = replace(letter, enclosure=await _enclosure(session, document_id))
    if mail.document_id:
        letter = replace(letter, enclosure=await _enclosure(session, mail.document_id))
    return letter, update.policy.name


def letter_of(
    mail: Mail, person: Person, update: UpdateInput, event: Event, *, holder_name: str
) -> Letter:
    """Return what a person is told about an event of an update."""
    plan = next((plan for plan in update.plan.lanes if plan.lane == event.lane), None)
    return replace(
        letter_to(mail, person, f"/updates/{update.update_id}"),
        kind=MailKind(mail.kind),
        holder_id=update.holder_id,
        holder_name=holder_name,
        card=update.token_label.strip() or update.token_serial,
        contact=update.policy.contact,
        lane=event.lane,
        facts=event.facts,
        ready=event.ready,
        lapsed=event.kind is EventKind.LAPSED,
        form_follows=_form_follows(plan),
        signature=_signature(plan, event),
        outside=update.policy.document_exchange is DocumentExchange.OUTSIDE,
    )


def _form_follows(plan: LanePlan | None) -> bool:
    return plan is not None and plan.mode in (Mode.CERTIFICATE_FORM, Mode.BOTH)


def _signature(plan: LanePlan | None, event: Event) -> FormSignature:
    """Return how the form that the mail is about may be signed."""
    kind = DocumentKind(event.facts.get("form", DocumentKind.CERTIFICATE_FORM))
    return form_signature(plan, kind) if plan else FormSignature.PAPER


async def _enclosure(session: AsyncSession, document_id: str) -> Enclosure | None:
    document = await session.get(Document, document_id)
    # An operator's note of a paper that is kept elsewhere has nothing to enclose.
    if document is None or document.media_type not in ENCLOSED:
        return None
    return Enclosure(document.sha256, document.size, document.media_type, document.kind)


async def _earlier(session: AsyncSession, mail: Mail) -> tuple[str, ...]:
    """Return the Message-IDs of what the person got before about the same thing, in order."""
    same = (
        and_(col(Mail.update_id) == mail.update_id, col(Mail.event) < mail.event)
        if mail.update_id
        else and_(
            col(Mail.certificate_sha256) == mail.certificate_sha256,
            col(Mail.created_at) < mail.created_at,
        )
    )
    query = select(col(Mail.message_id)).where(
        same, col(Mail.person_id) == mail.person_id, col(Mail.state) != "folded"
    )
    return tuple(
        (await session.scalars(query.order_by(col(Mail.created_at), col(Mail.event)))).all()
    )
