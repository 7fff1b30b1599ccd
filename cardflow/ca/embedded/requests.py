"""Requests as the CA keeps them: taken in once, compared on repeats, shown to officers, decided."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from cardflow.ca import CertificateRequest
from cardflow.ca.tables import CaCertificate, CaDecision, CaKey, CaRequest, State
from cardflow.errors import Refused
from cardflow.model import Approval, Profile, Subject
from cardflow.policy import canonical_digest, canonical_text
from cardflow.wire import from_json, to_json
from cardflow.x509 import (
    ascii_email,
    key_type_of,
    load_csr,
    spki_sha256,
    subject_dn,
)


@dataclass(frozen=True)
class DecisionFacts:
    """One officer's word."""

    officer: str
    verdict: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class RequestFacts:
    """What an officer is shown; ``digest`` is what they decide on."""

    request_id: str
    state: State
    profile: str
    title: str
    subject: str  # RFC 4514, as it will be issued
    alternative_names: tuple[str, ...]
    person_id: str
    requested_by: str
    submitted_at: datetime
    key_type: str
    spki_sha256: str
    validity_days: int
    officers_needed: int
    digest: str
    remarks: tuple[str, ...]
    decisions: tuple[DecisionFacts, ...]
    reason: str = ""
    serial_number: str = ""


def profile_of(row: CaRequest) -> Profile:
    """Return the profile as it stood when the request came."""
    return from_json(Profile, json.loads(row.profile_json))


def subject_of(row: CaRequest) -> Subject:
    """Return the person's names as they stood when the request came."""
    return from_json(Subject, json.loads(row.subject_json))


def digest_of(row: CaRequest) -> str:
    """Return the digest of everything that the certificate will be made from, and who asked."""
    return canonical_digest(_shown(row))


def shown_text(row: CaRequest) -> str:
    """Return the text whose SHA-256 is the digest that officers decide on."""
    return canonical_text(_shown(row))


def _shown(row: CaRequest) -> dict[str, object]:
    return {
        "request": row.request_id,
        "profile": json.loads(row.profile_json),
        "subject": json.loads(row.subject_json),
        "spki": row.spki_sha256,
        "requested_by": row.requested_by,
    }


def refuse_other_key(row: CaRequest, request: CertificateRequest) -> None:
    """Raise Refused unless ``request`` is for the profile and the key that were taken in."""
    taken_in = (row.profile, row.spki_sha256)
    if taken_in != (request.profile, spki_sha256(load_csr(request.csr_pem))):
        raise Refused(f"the request {row.request_id} was made before for another profile or key")


def refuse_other_content(row: CaRequest, request: CertificateRequest) -> None:
    """Raise Refused unless ``request`` is a repeat of the one that was taken in."""
    refuse_other_key(row, request)
    if (subject_of(row), row.requested_by) != (request.subject, request.requested_by):
        raise Refused(f"the request {row.request_id} was made before with other names")


async def locked(session: AsyncSession, request_id: str) -> CaRequest:
    """Return the request's row, which nobody else changes before this transaction ends."""
    query = select(CaRequest).where(CaRequest.request_id == request_id).with_for_update()
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise Refused(f"there is no request {request_id}")
    return row


def new_row(
    request: CertificateRequest, profile: Profile, remarks: Sequence[str], now: datetime
) -> CaRequest:
    """Return the request as a row, with everything frozen that it will be issued from."""
    return CaRequest(
        request_id=request.request_id,
        state=State.PENDING if profile.approval is Approval.OFFICER else State.SIGNING,
        profile=profile.name,
        profile_json=_json(to_json(profile)),
        subject_json=_json(to_json(request.subject)),
        person_id=request.subject.person_id,
        requested_by=request.requested_by,
        csr_pem=request.csr_pem,
        spki_sha256=spki_sha256(load_csr(request.csr_pem)),
        lint=_json(list(remarks)),
        submitted_at=now,
    )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


async def claim_key(session: AsyncSession, row: CaRequest) -> None:
    """Record whose the key is, or raise Refused when it is somebody else's."""
    owner = await session.get(CaKey, row.spki_sha256)
    if owner is None:
        session.add(CaKey(spki_sha256=row.spki_sha256, person_id=row.person_id))
    elif owner.person_id != row.person_id:
        raise Refused("the public key was presented by another person before")


# What officers are shown


async def pending(session: AsyncSession) -> list[RequestFacts]:
    """Return the requests that wait for officers, oldest first."""
    query = select(CaRequest).where(CaRequest.state == State.PENDING)
    rows = await session.scalars(query.order_by(col(CaRequest.submitted_at)))
    return [await facts(session, row) for row in rows.all()]


async def facts(session: AsyncSession, row: CaRequest) -> RequestFacts:
    """Return what an officer is shown of a request."""
    profile, subject = profile_of(row), subject_of(row)
    query = select(CaCertificate.serial_number).where(CaCertificate.request_id == row.request_id)
    return RequestFacts(
        request_id=row.request_id,
        state=State(row.state),
        profile=row.profile,
        title=profile.title,
        subject=subject_dn(subject, profile),
        alternative_names=_alternative_names(subject, profile),
        person_id=row.person_id,
        requested_by=row.requested_by,
        submitted_at=row.submitted_at,
        key_type=key_type_of(load_csr(row.csr_pem).public_key()),
        spki_sha256=row.spki_sha256,
        validity_days=profile.validity_days,
        officers_needed=profile.officers_needed if profile.approval is Approval.OFFICER else 0,
        digest=digest_of(row),
        remarks=(*json.loads(row.lint), *_about_sid(subject, profile)),
        decisions=tuple(
            DecisionFacts(d.officer, d.verdict, d.reason, d.at)
            for d in await decisions_on(session, row.request_id)
        ),
        reason=row.reason,
        serial_number=await session.scalar(query) or "",
    )


def _alternative_names(subject: Subject, profile: Profile) -> tuple[str, ...]:
    values = {"upn": subject.upn, "email": ascii_email(subject.email) if subject.email else ""}
    found = [f"{kind}: {values[kind]}" for kind in profile.subject_alt_names]
    if profile.sid_extension and subject.sid:
        found.append(f"sid: {subject.sid}")
    return tuple(found)


def _about_sid(subject: Subject, profile: Profile) -> tuple[str, ...]:
    if not profile.sid_extension or subject.sid:
        return ()
    return (
        "no security identifier is on record: Windows domains will not accept this certificate",
    )


async def decisions_on(session: AsyncSession, request_id: str) -> Sequence[CaDecision]:
    """Return the officers' words on a request, in order."""
    query = select(CaDecision).where(CaDecision.request_id == request_id)
    return (await session.scalars(query.order_by(col(CaDecision.id)))).all()
