"""The embedded CA itself: its certificates, its CRLs, and what an administrator should see to."""

from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Depends

from api.auth import may
from api.authorize import Caller, Permission
from api.problems import problems
from api.routing import GuardedRoute
from api.shapes import Out
from api.state import Authority
from cardflow.ca.embedded.authority import EmbeddedCA
from cardflow.errors import Unavailable
from cardflow.x509 import facts_of_certificate

router = APIRouter(prefix="/ca", tags=["ca"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_CERTIFICATES))]


class AuthorityOut(Out):
    """A certificate of the CA's own."""

    subject: str
    issuer: str
    serial_number: str
    key_type: str
    sha256: str
    not_before: datetime
    not_after: datetime
    certificate_pem: str
    path: str  # where relying parties fetch it


class CrlOut(Out):
    """A CRL as it is served now."""

    number: int
    this_update: datetime
    next_update: datetime | None
    entries: int
    path: str


class CaOut(Out):
    """The CA; ``health`` says what to see to, and nothing when all is well."""

    root: AuthorityOut
    issuing: AuthorityOut
    crl: CrlOut | None  # null before the worker made the first
    root_crl: CrlOut
    ocsp_signer_until: datetime | None
    health: list[str]


@router.get("", operation_id="show_ca", responses=problems())
async def show_ca(_caller: Reader, authority: Authority) -> CaOut:
    """Return the CA's certificates and CRLs, and how it is."""
    return CaOut(
        root=_certificate(authority.root_certificate_der(), "/pki/root.cer"),
        issuing=_certificate(authority.issuing_certificate_der(), "/pki/ca.cer"),
        crl=await _newest_crl(authority),
        root_crl=_crl(authority.root_crl_der(), "/pki/root.crl"),
        ocsp_signer_until=_signer_until(authority),
        health=await authority.health(),
    )


def _certificate(der: bytes, path: str) -> AuthorityOut:
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    facts = facts_of_certificate(pem)
    return AuthorityOut(
        subject=facts.subject,
        issuer=facts.issuer,
        serial_number=facts.serial_number,
        key_type=facts.key_type,
        sha256=facts.sha256,
        not_before=facts.not_before,
        not_after=facts.not_after,
        certificate_pem=pem,
        path=path,
    )


async def _newest_crl(authority: EmbeddedCA) -> CrlOut | None:
    try:
        return _crl(await authority.crl_der(), "/pki/crl")
    except Unavailable:
        return None


def _crl(der: bytes, path: str) -> CrlOut:
    crl = x509.load_der_x509_crl(der)
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return CrlOut(
        number=number,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        entries=len(crl),
        path=path,
    )


def _signer_until(authority: EmbeddedCA) -> datetime | None:
    try:
        return authority.ocsp_signer_until()
    except Unavailable:
        return None
