"""Pages about certificates that the CA issued, and about the CA itself."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from api import certificates
from api.authority import Reader as CaReader
from api.authority import show_ca
from api.authorize import Caller
from api.certificate_shapes import CertificateOut
from api.paging import Page, Paging
from api.problems import Problem, invalid
from api.routing import Reading
from api.state import Authority, Everything, State
from api.web.live import version_of
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from api.web.whose import whose
from cardflow.ca import RevocationReason
from cardflow.ca.embedded.listing import Standing
from cardflow.errors import Refused
from cardflow.sql import transaction

EXPIRING = (0, 7, 14, 30, 60, 90)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Typed = Annotated[str, Query(max_length=200)]


@router.get("/certificates", name="certificates_page")
async def certificates_page(
    *,
    request: Request,
    caller: certificates.Searcher,
    session: Reading,
    state: Everything,
    paging: Annotated[Paging, Depends()],
    subject: Annotated[str, Query(max_length=100)] = "",
    serial_number: Annotated[str, Query(max_length=60)] = "",
    person: Typed = "",
    standing: Annotated[str, Query(alias="state", max_length=10)] = "",
    profile: Annotated[str, Query(max_length=64)] = "",
    expiring_within_days: Annotated[int, Query(ge=0, le=3_650)] = 0,
) -> Response:
    """Return what was issued."""
    who = await whose(session, person)
    asked = certificates.Asked(
        serial_number=serial_number,
        person=who.id,
        subject=subject,
        profile=profile,
        state=Standing(standing) if standing in tuple(Standing) else None,
        expiring_within_days=expiring_within_days,
    )
    found, problem = Page[CertificateOut](items=[]), None
    try:
        if not who.unclear:
            found = await certificates.show_certificates(caller, session, paging, asked)
    except Refused as refusal:
        problem = invalid("serial_number", str(refusal))
    return page(
        request,
        "ca/certificates.html",
        problem=problem,
        asked=asked,
        who=who,
        found=found,
        profiles=state.profiles,
        standings=tuple(Standing),
        expiring=EXPIRING,
    )


@router.get("/certificates/{serial_number}", name="certificate_page")
async def certificate_page(
    request: Request,
    serial_number: certificates.SerialNumber,
    caller: certificates.Searcher,
    state: Everything,
) -> Response:
    """Return a certificate with everything about it."""
    return await _shown(request, serial_number, caller, state)


@router.post("/certificates/{serial_number}", name="revocation_form")
async def revoke(
    *,
    request: Request,
    serial_number: certificates.SerialNumber,
    caller: certificates.Revoker,
    state: Everything,
    authority: Authority,
    reason: Annotated[str, Form(max_length=40)] = "",
    note: Annotated[str, Form(max_length=1000)] = "",
    confirm: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Revoke, once its person has typed how the serial number ends."""
    try:
        certificates.check_confirmation(serial_number, confirm)
        body = certificates.RevocationIn(reason=_reason(reason), note=note)
        await certificates.revoke_certificate(serial_number, body, caller, state, authority)
    except Problem as problem:
        given = {"reason": reason, "note": note, "confirm": confirm}
        return await _shown(request, serial_number, caller, state, problem=problem, given=given)
    notice = N_("The certificate is revoked. OCSP says so now, the CRL with its next issue.")
    return go(request, f"/certificates/{serial_number}", notice)


def _reason(given: str) -> RevocationReason:
    try:
        return RevocationReason(given)
    except ValueError:
        raise invalid("reason", "missing", "say why the certificate is revoked") from None


async def _shown(
    request: Request, serial_number: str, caller: Caller, state: State, **more: Any
) -> Response:
    async with transaction(state.reads) as session:
        shown = await certificates.show_certificate(
            serial_number, caller, session, state.ca.authority()
        )
        topic = f"certificate:{shown.serial_number}"
        return page(
            request,
            "ca/certificate.html",
            topic=topic,
            seen=await version_of(session, caller, topic),
            shown=shown,
            reasons=tuple(RevocationReason),
            ending=certificates.confirmation_of(shown.serial_number),
            **more,
        )


@router.get("/ca", name="ca_page")
async def ca_page(request: Request, caller: CaReader, authority: Authority) -> Response:
    """Return the CA: its certificates, its CRLs, and how it is."""
    return page(request, "ca/authority.html", shown=await show_ca(caller, authority))
