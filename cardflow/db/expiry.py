"""Warnings that a certificate on a card expires: one per certificate, threshold and holder."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from sqlalchemy import ColumnElement, and_, delete, exists, not_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from cardflow.db.mail_queue import letter_to, mail_id, mail_to
from cardflow.db.register_policies import list_newest, newest_version
from cardflow.db.tables import Card, Certificate, Mail, Person, Update
from cardflow.db.tracking import has_gone
from cardflow.errors import Refused
from cardflow.mail.letters import Letter
from cardflow.model import CardState, CertificateKind, MailKind, Policy
from cardflow.policy_toml import stored_policy

THRESHOLDS = (7, 1)  # days, after the policy's own renew_before_days
FIRST = "first"  # the policy's own threshold, however many days it is
DAY = timedelta(days=1)
MOST_POLICIES = 1_000

log = logging.getLogger(__name__)
UPDATE_IS_OPEN = exists().where(
    col(Update.card_id) == col(Certificate.card_id), col(Update.ended_at).is_(None)
)


async def queue_warnings(session: AsyncSession, now: datetime, *, domain: str) -> None:
    """Leave a warning about every certificate that has come closer to its end; repeats add none."""
    await _drop_overtaken(session)
    policies = await _policies(session)
    furthest = max((policy.renew_before_days for policy in policies.values()), default=0)
    for certificate, card, holder in await _expiring(session, now, now + furthest * DAY):
        policy = policies.get(card.policy_name)
        if policy is None or not _concerns(policy, certificate, card):
            continue
        if threshold := threshold_of(policy, certificate.not_after - now):
            mail = _warning(certificate, holder, threshold, now, domain)
            if await session.get(Mail, mail.id) is None:
                session.add(mail)


def threshold_of(policy: Policy, left: timedelta) -> str:
    """Return the narrowest threshold within which the certificate ends; empty: none yet."""
    for days in sorted(THRESHOLDS):
        if days < policy.renew_before_days and left <= days * DAY:
            return str(days)
    return FIRST if left <= policy.renew_before_days * DAY else ""


async def _policies(session: AsyncSession) -> dict[str, Policy]:
    rows = await list_newest(session, after="", limit=MOST_POLICIES)
    return {row.name: policy for row in rows if (policy := _read(row.name, row.document))}


def _read(name: str, document: str) -> Policy | None:
    try:
        return stored_policy(document, 1)
    except Refused as refused:
        log.warning("nobody is warned under the policy %s: %s", name, refused)
        return None


async def _expiring(
    session: AsyncSession, now: datetime, until: datetime
) -> list[tuple[Certificate, Card, Person]]:
    query = (
        select(Certificate, Card, Person)
        .join(Card, col(Card.id) == col(Certificate.card_id))
        .join(Person, col(Person.id) == col(Card.holder_id))
        .where(
            col(Certificate.state) == "on_card",
            col(Certificate.not_after) > now,
            col(Certificate.not_after) <= until,
            col(Card.state).not_in((CardState.DISABLED, CardState.REVOKED)),
            col(Person.active).is_(True),
            not_(UPDATE_IS_OPEN),
            not_(_is_superseded()),
        )
        .order_by(col(Certificate.not_after), col(Certificate.sha256))
    )
    return [(row[0], row[1], row[2]) for row in (await session.execute(query)).all()]


def _is_superseded() -> ColumnElement[bool]:
    """Old encryption certificates stay on the card after their successor is there."""
    newer = aliased(Certificate)
    return exists().where(
        col(newer.card_id) == col(Certificate.card_id),
        col(newer.kind) == CertificateKind.MANAGED.value,
        col(newer.state) == "on_card",
        col(newer.profile) == col(Certificate.profile),
        col(newer.not_after) > col(Certificate.not_after),
        col(Certificate.kind) == CertificateKind.MANAGED.value,
    )


def _concerns(policy: Policy, certificate: Certificate, card: Card) -> bool:
    if MailKind.EXPIRY_WARNING not in policy.notifications:
        return False
    if certificate.kind == CertificateKind.TRACKED:
        # It may have gone from the card by other programs; the last inventory knows.
        return not has_gone(card.inventory, certificate.sha256)
    return certificate.profile in {entry.profile for entry in policy.profiles}


def _warning(
    certificate: Certificate, holder: Person, threshold: str, now: datetime, domain: str
) -> Mail:
    key = mail_id(f"expiry/{certificate.sha256}/{threshold}/{holder.id}")
    mail = mail_to(holder, key, MailKind.EXPIRY_WARNING, now=now, domain=domain)
    mail.certificate_sha256 = certificate.sha256
    return mail


async def _drop_overtaken(session: AsyncSession) -> None:
    """Forget warnings that never left and are not true any more."""
    still_true = (
        select(col(Certificate.sha256))
        .join(Card, col(Card.id) == col(Certificate.card_id))
        .where(
            col(Certificate.sha256) == col(Mail.certificate_sha256),
            col(Certificate.state) == "on_card",
            col(Card.holder_id) == col(Mail.person_id),
            not_(UPDATE_IS_OPEN),
        )
        .correlate(Mail)
        .exists()
    )
    queued = and_(col(Mail.state) == "queued", col(Mail.certificate_sha256) != "")
    await session.execute(delete(Mail).where(queued, not_(still_true)))


async def letter(session: AsyncSession, mail: Mail, person: Person) -> tuple[Letter, str] | None:
    """Return what the holder is told, and under which policy."""
    found = await _warned_about(session, mail)
    version = await newest_version(session, found[1].policy_name) if found else None
    if found is None or version is None:
        return None
    certificate, card = found
    policy = stored_policy(version.document, version.version)
    return (
        replace(
            letter_to(mail, person, f"/cards/{card.id}"),
            kind=MailKind.EXPIRY_WARNING,
            holder_id=person.id,
            holder_name=person.name,
            card=card.token_label.strip() or card.token_serial,
            contact=policy.contact,
            lane=certificate.profile or certificate.subject,
            facts=dict(_facts(mail, certificate)),
        ),
        card.policy_name,
    )


async def _warned_about(session: AsyncSession, mail: Mail) -> tuple[Certificate, Card] | None:
    query = (
        select(Certificate, Card)
        .join(Card, col(Card.id) == col(Certificate.card_id))
        .where(
            col(Certificate.sha256) == mail.certificate_sha256,
            col(Card.holder_id) == mail.person_id,
        )
        .order_by(col(Card.id))
    )
    row = (await session.execute(query.limit(1))).one_or_none()
    return (row[0], row[1]) if row else None


def _facts(mail: Mail, certificate: Certificate) -> Iterator[tuple[str, str]]:
    yield "expires", certificate.not_after.isoformat()
    yield "days", str(ceil((certificate.not_after - mail.created_at) / DAY))
    if certificate.kind == CertificateKind.TRACKED:
        yield "tracked", "yes"
