"""Certificates that the embedded CA issued, and their revocation."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.ca_shapes import parts_of
from api.certificate_shapes import (
    CertificateDetail,
    CertificateOut,
    OnCardOut,
    shown_certificate,
    shown_detail,
)
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import LINE, In, Reason
from api.state import Authority, Everything
from cardflow.ca import RevocationReason
from cardflow.ca.embedded.listing import (
    Listed,
    Standing,
    Wanted,
    find_certificate,
    list_certificates,
)
from cardflow.db import audit
from cardflow.db.ca_record import CARecord
from cardflow.db.register_updates import find_update, names_of, registered_certificate
from cardflow.db.tables import Card
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.sql import alone_with, transaction
from cardflow.x509 import chain_as, load_certificate

LIST = "certificates"
MEDIA_TYPES = {
    "pem": "application/x-pem-file",
    "der": "application/pkix-cert",
    "chain": "application/x-pem-file",
    "p7b": "application/x-pkcs7-certificates",
}

router = APIRouter(prefix="/ca/certificates", tags=["ca"], route_class=GuardedRoute)

Searcher = Annotated[Caller, Depends(may(Permission.SEE_CERTIFICATES))]
Revoker = Annotated[Caller, Depends(may(Permission.REVOKE_CERTIFICATE, Proof.FRESH))]
SerialNumber = Annotated[str, Path(max_length=60)]


class RevocationIn(In):
    """Why a certificate is revoked (RFC 5280 5.3.1), and what is to be remembered of it."""

    reason: RevocationReason
    note: Reason = ""


@dataclass(frozen=True)
class Asked:
    """Which certificates are asked for; an empty word does not narrow."""

    serial_number: Annotated[str, Query(max_length=60, pattern=LINE)] = ""
    person: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    subject: Annotated[str, Query(max_length=100, pattern=LINE)] = ""
    profile: Annotated[str, Query(max_length=64, pattern=LINE)] = ""
    state: Annotated[Standing | None, Query()] = None
    expiring_within_days: Annotated[int, Query(ge=0, le=3_650)] = 0

    def wanted(self) -> Wanted:
        """Return the same for the CA's records."""
        now, days = utc_now(), self.expiring_within_days
        return Wanted(
            now=now,
            serial_number=self.serial_number.strip(),
            person_id=self.person,
            subject=self.subject.strip(),
            profile=self.profile,
            standing=self.state,
            expires_before=now + timedelta(days=days) if days else None,
        )


@router.get("", operation_id="list_certificates", responses=problems(409))
async def show_certificates(
    _caller: Searcher,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    asked: Annotated[Asked, Depends()],
) -> Page[CertificateOut]:
    """List what was issued for people, the newest first; what expires soon, the soonest first."""
    wanted = asked.wanted()
    name = f"{LIST} {wanted.order.instant}"
    after = paging.after(name)
    rows = await list_certificates(session, wanted, after=after, limit=paging.limit + 1)
    names = await names_of(session, {row.person_id for row in rows})
    return page(name, rows, paging, wanted.order.place, lambda row: shown_certificate(row, names))


@router.get("/{serial_number}", operation_id="show_certificate", responses=problems(404))
async def show_certificate(
    serial_number: SerialNumber, _caller: Searcher, session: Reading, authority: Authority
) -> CertificateDetail:
    """Return a certificate with everything in it, and where it is."""
    row = await _find(session, serial_number)
    names = await names_of(session, {row.person_id, row.revoked_by})
    chain = await authority.ca_certificates()
    return shown_detail(row, names, await _on_card(session, row), chain)


@router.get(
    "/{serial_number}/download",
    operation_id="download_certificate",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}, "description": "The certificate, alone or with its chain"},
        **problems(404),
    },
)
async def download_certificate(
    serial_number: SerialNumber,
    _caller: Searcher,
    session: Reading,
    authority: Authority,
    form: Annotated[Literal["pem", "der", "chain", "p7b"], Query()] = "pem",
) -> Response:
    """Return the certificate: PEM or DER; with its chain: PEM, or PKCS #7 in DER."""
    row = await _find(session, serial_number)
    chain = [] if form in ("pem", "der") else await authority.ca_certificates()
    found = [load_certificate(pem) for pem in (row.certificate_pem, *chain)]
    suffix = "pem" if form == "chain" else form
    name = f"{row.serial_number}{'-chain' if form == 'chain' else ''}.{suffix}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(chain_as(form, found), media_type=MEDIA_TYPES[form], headers=headers)


@router.post(
    "/{serial_number}/revoke",
    operation_id="revoke_certificate",
    responses=problems(404, 409, 413),
)
async def revoke_certificate(
    serial_number: SerialNumber,
    body: RevocationIn,
    caller: Revoker,
    state: Everything,
    authority: Authority,
) -> CertificateOut:
    """Revoke for good; doing it again changes nothing, the first reason stays.

    1. The order is on record, with who gave it and why.
    2. The CA revokes.
    3. The register says so. Broken off after 1 or 2, the same request goes on there.
    """
    async with transaction(state.sessions) as session:  # no failpoint: the same request goes on
        found = await _ordered(session, serial_number, body, caller)
    await authority.revoke(found.serial_number, body.reason, by=caller.id, note=body.note)
    async with transaction(state.reads) as session:
        row = await _find(session, found.serial_number)
        shown = shown_certificate(row, await names_of(session, {row.person_id, row.revoked_by}))
    update_id, _, _ = parts_of(row.request_id)
    await CARecord(state.sessions).revoked(row.serial_number, update_id, row.revocation_reason)
    return shown


async def _ordered(
    session: AsyncSession, serial_number: str, body: RevocationIn, caller: Caller
) -> Listed:
    """Return the certificate; the order to revoke it is on record, once, unless nobody gave one."""
    row = await _find(session, serial_number)
    reason, note, by = body.reason.value, body.note, caller.id
    if row.revoked_at:
        reason, note, by = row.revocation_reason, row.revocation_note, row.revoked_by
    if not by:  # it was revoked with its card or by its update, which is on record there
        return row
    await alone_with(session, f"revocation {row.serial_number}")
    update_id, _, _ = parts_of(row.request_id)
    facts = {"serial_number": row.serial_number, "reason": reason, "note": note}
    entry = audit.Entry("revocation_ordered", utc_now(), by, update_id=update_id, facts=facts)
    if not await audit.holds(session, entry):
        await audit.append(session, entry)
    return row


async def _find(session: AsyncSession, serial_number: str) -> Listed:
    try:
        row = await find_certificate(session, serial_number)
    except Refused as error:
        raise not_found("certificate") from error
    if row is None:
        raise not_found("certificate")
    return row


async def _on_card(session: AsyncSession, row: Listed) -> OnCardOut | None:
    """Return the card that the register knows the certificate on."""
    registered = await registered_certificate(session, row.serial_number)
    update = await find_update(session, parts_of(row.request_id)[0])
    card_id = registered.card_id if registered else update.card_id if update else ""
    card = await session.get(Card, card_id) if card_id else None
    if card is None:
        return None
    return OnCardOut(
        id=card.id,
        token_serial=card.token_serial,
        token_label=card.token_label,
        state=registered.state if registered else "",
    )


def check_confirmation(serial_number: str, typed: str) -> None:
    """Raise Problem 422 unless the serial number's last characters were typed."""
    wanted = confirmation_of(serial_number)
    if typed.strip().replace(":", "").lower() != wanted:
        remedy = f"type the last {len(wanted)} characters of the certificate's serial number"
        raise invalid("confirm", "this is not how the serial number ends", remedy)


def confirmation_of(serial_number: str) -> str:
    """Return what must be typed before the certificate is revoked by a person at a page."""
    return serial_number[-CONFIRMED_BY:]


CONFIRMED_BY = 6  # characters
