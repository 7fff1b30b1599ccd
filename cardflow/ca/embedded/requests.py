"""Requests as the CA keeps them: taken in once, compared on repeats, shown to officers, decided."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

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
    ended_at: datetime | None
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


async def found(session: AsyncSession, request_id: str) -> CaRequest:
    """Return the request's row, for looking only."""
    row = await session.get(CaRequest, request_id)
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


@dataclass(frozen=True)
class Wanted:
    """Which requests are asked for; an empty word does not narrow."""

    states: tuple[State, ...] = ()
    profile: str = ""
    person_id: str = ""
    submitted_before: datetime | None = None
    newest_first: bool = False


Place = tuple[datetime, str]  # of a request in a list: when it came, and its id


async def listed(
    session: AsyncSession, wanted: Wanted, *, after: Place | None, limit: int
) -> list[RequestFacts]:
    """Return the requests that follow ``after``, in the order in which they came."""
    at, request_id = col(CaRequest.submitted_at), col(CaRequest.request_id)
    order = (at.desc(), request_id.desc()) if wanted.newest_first else (at, request_id)
    query = _narrowed(select(CaRequest), wanted).order_by(*order).limit(limit)
    if after:
        query = query.where(_beyond(after, newest_first=wanted.newest_first))
    return await facts_of(session, (await session.scalars(query)).all())


def _narrowed(query: "SelectOfScalar[CaRequest]", wanted: Wanted) -> "SelectOfScalar[CaRequest]":
    if wanted.states:
        query = query.where(col(CaRequest.state).in_(wanted.states))
    if wanted.profile:
        query = query.where(col(CaRequest.profile) == wanted.profile)
    if wanted.person_id:
        query = query.where(col(CaRequest.person_id) == wanted.person_id)
    if wanted.submitted_before:
        query = query.where(col(CaRequest.submitted_at) <= wanted.submitted_before)
    return query


def _beyond(place: Place, *, newest_first: bool) -> ColumnElement[bool]:
    at, request_id = col(CaRequest.submitted_at), col(CaRequest.request_id)
    if newest_first:
        return or_(at < place[0], and_(at == place[0], request_id < place[1]))
    return or_(at > place[0], and_(at == place[0], request_id > place[1]))


async def version(session: AsyncSession) -> tuple[object, ...]:
    """Return what changes when any request does; asked a few times a second."""
    undecided = (State.PENDING, State.APPROVED, State.SIGNING)
    queries = (
        select(func.max(CaRequest.submitted_at)),
        select(func.max(CaDecision.id)),
        select(func.count()).where(col(CaRequest.state).in_(undecided)),
    )
    return tuple([str(await session.scalar(query)) for query in queries])


async def version_of(session: AsyncSession, request_id: str) -> tuple[object, ...]:
    """Return what changes when the request does."""
    decisions = select(func.count()).where(col(CaDecision.request_id) == request_id)
    state = select(CaRequest.state).where(CaRequest.request_id == request_id)
    return await session.scalar(state), await session.scalar(decisions)


async def facts(session: AsyncSession, row: CaRequest) -> RequestFacts:
    """Return what an officer is shown of a request."""
    (shown,) = await facts_of(session, [row])
    return shown


async def facts_of(session: AsyncSession, rows: Sequence[CaRequest]) -> list[RequestFacts]:
    """Return what an officer is shown of requests."""
    ids = [row.request_id for row in rows]
    decisions: dict[str, list[CaDecision]] = defaultdict(list)
    query = select(CaDecision).where(col(CaDecision.request_id).in_(ids))
    for decision in await session.scalars(query.order_by(col(CaDecision.id))):
        decisions[decision.request_id].append(decision)
    numbers = select(CaCertificate.request_id, CaCertificate.serial_number).where(
        col(CaCertificate.request_id).in_(ids)
    )
    issued = {row.request_id: row.serial_number for row in await session.execute(numbers)}
    return [_facts(row, decisions[row.request_id], issued.get(row.request_id, "")) for row in rows]


def _facts(row: CaRequest, given: Sequence[CaDecision], serial_number: str) -> RequestFacts:
    profile, subject = profile_of(row), subject_of(row)
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
        ended_at=row.ended_at,
        key_type=key_type_of(load_csr(row.csr_pem).public_key()),
        spki_sha256=row.spki_sha256,
        validity_days=profile.validity_days,
        officers_needed=profile.officers_needed if profile.approval is Approval.OFFICER else 0,
        digest=digest_of(row),
        remarks=(*json.loads(row.lint), *_about_sid(subject, profile)),
        decisions=tuple(DecisionFacts(d.officer, d.verdict, d.reason, d.at) for d in given),
        reason=row.reason,
        serial_number=serial_number,
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
