"""What the embedded CA issued, page by page, for the people who look after it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.errors import Refused


@dataclass(frozen=True)
class Listed:
    """One certificate, its request's id, and whose it is."""

    position: int
    serial_number: str
    request_id: str
    person_id: str
    profile: str
    certificate_pem: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str


async def list_certificates(
    session: AsyncSession, *, after: int, limit: int, serial_number: str = "", person_id: str = ""
) -> list[Listed]:
    """Return people's certificates in the order they were signed; an empty word does not narrow."""
    query = (
        select(CaCertificate, CaRequest)
        .join(CaRequest, col(CaRequest.request_id) == col(CaCertificate.request_id))
        .where(col(CaCertificate.id) > after, col(CaCertificate.certificate_pem) != "")
    )
    if serial_number:
        query = query.where(col(CaCertificate.serial_number) == normal(serial_number))
    if person_id:
        query = query.where(col(CaRequest.person_id) == person_id)
    rows = (await session.execute(query.order_by(col(CaCertificate.id)).limit(limit))).all()
    return [_listed(certificate, request) for certificate, request in rows]


def normal(serial_number: str) -> str:
    """Return the serial number as it is kept: hexadecimal, no leading zeros, no colons."""
    try:
        return format(int(serial_number.replace(":", ""), 16), "x")
    except ValueError as error:
        raise Refused("a serial number is written in hexadecimal") from error


def _listed(certificate: CaCertificate, request: CaRequest) -> Listed:
    return Listed(
        position=certificate.id or 0,
        serial_number=certificate.serial_number,
        request_id=request.request_id,
        person_id=request.person_id,
        profile=request.profile,
        certificate_pem=certificate.certificate_pem,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        revoked_at=certificate.revoked_at,
        revocation_reason=certificate.revocation_reason,
    )
