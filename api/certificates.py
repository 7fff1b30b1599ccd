"""Certificates that the embedded CA issued, and their revocation."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from api.auth import may
from api.authorize import Caller, Permission
from api.ca import parts_of
from api.paging import Page, Paging, page
from api.problems import not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import In, Out
from api.state import Authority, Everything
from cardflow.ca import RevocationReason
from cardflow.ca.embedded.listing import Listed, list_certificates
from cardflow.db import audit
from cardflow.db.ca_record import CARecord
from cardflow.db.register_updates import names_of
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.sql import transaction
from cardflow.x509 import facts_of_certificate

router = APIRouter(prefix="/ca/certificates", tags=["ca"], route_class=GuardedRoute)

Searcher = Annotated[Caller, Depends(may(Permission.SEE_CERTIFICATES))]
Revoker = Annotated[Caller, Depends(may(Permission.REVOKE_CERTIFICATE))]


class CertificateOut(Out):
    """A certificate that the CA issued."""

    serial_number: str
    state: str  # valid expired revoked
    profile: str
    subject: str
    person_id: str
    person_name: str
    update_id: str
    lane: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str
    certificate_pem: str


class RevocationIn(In):
    """Why a certificate is revoked (RFC 5280 5.3.1)."""

    reason: RevocationReason


@router.get("", operation_id="list_certificates", responses=problems(409))
async def show_certificates(
    _caller: Searcher,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    serial_number: Annotated[str, Query(max_length=60)] = "",
    person: Annotated[str, Query(max_length=36)] = "",
) -> Page[CertificateOut]:
    """List what was issued for people, the oldest first."""
    rows = await list_certificates(
        session,
        after=paging.after_number("certificates"),
        limit=paging.limit + 1,
        serial_number=serial_number,
        person_id=person,
    )
    names = await names_of(session, {row.person_id for row in rows})
    return page(
        "certificates", rows, paging, lambda row: str(row.position), lambda row: _shown(row, names)
    )


@router.post(
    "/{serial_number}/revoke",
    operation_id="revoke_certificate",
    responses=problems(404, 409, 413),
)
async def revoke_certificate(
    serial_number: Annotated[str, Path(max_length=60)],
    body: RevocationIn,
    caller: Revoker,
    state: Everything,
    authority: Authority,
) -> CertificateOut:
    """Revoke for good; doing it again changes nothing, the first reason stays."""
    found = await _find(state, serial_number)
    if found.revoked_at is None:
        await authority.revoke(found.serial_number, body.reason)
        facts = {"serial_number": found.serial_number, "reason": body.reason}
        entry = audit.Entry("revocation_ordered", utc_now(), actor=caller.id, facts=facts)
        async with transaction(state.sessions) as session:
            await audit.append(session, entry)
        update_id = parts_of(found.request_id)[0]
        await CARecord(state.sessions).revoked(found.serial_number, update_id, body.reason)
    async with transaction(state.reads) as session:
        names = await names_of(session, {found.person_id})
    return _shown(await _find(state, found.serial_number), names)


async def _find(state: Everything, serial_number: str) -> Listed:
    try:
        async with transaction(state.reads) as session:
            rows = await list_certificates(session, after=0, limit=1, serial_number=serial_number)
    except Refused as error:
        raise not_found("certificate") from error
    if not rows:
        raise not_found("certificate")
    return rows[0]


def _shown(row: Listed, names: dict[str, str]) -> CertificateOut:
    update_id, _, lane = parts_of(row.request_id)
    return CertificateOut(
        serial_number=row.serial_number,
        state=_state(row),
        profile=row.profile,
        subject=facts_of_certificate(row.certificate_pem).subject,
        person_id=row.person_id,
        person_name=names.get(row.person_id, ""),
        update_id=update_id,
        lane=lane,
        not_before=row.not_before,
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        revocation_reason=row.revocation_reason,
        certificate_pem=row.certificate_pem,
    )


def _state(row: Listed) -> str:
    if row.revoked_at:
        return "revoked"
    return "expired" if row.not_after <= utc_now() else "valid"
