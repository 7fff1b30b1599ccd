"""What the embedded CA issued, page by page, for the people who look after it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from cardflow.ca.tables import CaCertificate
from cardflow.errors import Refused


class Standing(StrEnum):
    """How a certificate stands now."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


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
    revoked_by: str
    revocation_note: str
    on_crl: int | None

    def standing(self, now: datetime) -> Standing:
        """Return how it stands; what was revoked stays so after its end."""
        if self.revoked_at:
            return Standing.REVOKED
        return Standing.EXPIRED if self.not_after <= now else Standing.VALID


@dataclass(frozen=True)
class Wanted:
    """Which certificates are asked for at ``now``; an empty word does not narrow."""

    now: datetime
    serial_number: str = ""
    person_id: str = ""
    subject: str = ""
    profile: str = ""
    standing: Standing | None = None
    expires_before: datetime | None = None

    @property
    def order(self) -> "Order":
        """The order in which such a list is read."""
        if self.expires_before:
            return Order("not_after", descending=False)
        if self.standing is Standing.REVOKED:
            return Order("revoked_at", descending=True)
        if self.standing is Standing.EXPIRED:
            return Order("not_after", descending=True)
        return Order("", descending=True)


@dataclass(frozen=True)
class Order:
    """By an instant, or as they were made; rows with the same instant as they were made."""

    instant: str
    descending: bool

    def place(self, row: Listed) -> str:
        """Return where the row stands in the order, as a cursor keeps it."""
        at = getattr(row, self.instant).isoformat() if self.instant else ""
        return f"{row.position} {at}"

    def columns(self) -> list[ColumnElement[Any]]:
        """Return what to sort by."""
        found = [col(getattr(CaCertificate, self.instant))] if self.instant else []
        found.append(col(CaCertificate.id))
        return [column.desc() if self.descending else column.asc() for column in found]

    def beyond(self, place: str) -> ColumnElement[bool]:
        """Return what is true of the rows after the place, or raise Refused."""
        number, _, at = place.partition(" ")
        try:
            position, instant = int(number), datetime.fromisoformat(at) if at else None
        except ValueError as error:
            raise Refused("the place is not one of this list") from error
        own = col(CaCertificate.id)
        later = own < position if self.descending else own > position
        if instant is None or not self.instant:
            return later
        column = col(getattr(CaCertificate, self.instant))
        beyond = column < instant if self.descending else column > instant
        return or_(beyond, and_(column == instant, later))


async def list_certificates(
    session: AsyncSession, wanted: Wanted, *, after: str, limit: int
) -> list[Listed]:
    """Return people's certificates after the place ``after``, in the order of ``wanted``."""
    query = select(CaCertificate).where(
        col(CaCertificate.request_id).is_not(None), col(CaCertificate.certificate_pem) != ""
    )
    query = _narrowed(query, wanted).order_by(*wanted.order.columns()).limit(limit)
    if after:
        query = query.where(wanted.order.beyond(after))
    return [_listed(row) for row in (await session.scalars(query)).all()]


async def find_certificate(session: AsyncSession, serial_number: str) -> Listed | None:
    """Return the certificate with the serial number, however it is written."""
    query = select(CaCertificate).where(
        col(CaCertificate.serial_number) == normal(serial_number),
        col(CaCertificate.request_id).is_not(None),
        col(CaCertificate.certificate_pem) != "",
    )
    row = (await session.scalars(query)).one_or_none()
    return _listed(row) if row else None


async def revoked_among(session: AsyncSession, serial_numbers: Collection[str]) -> list[Listed]:
    """Return those of the certificates that are revoked."""
    query = select(CaCertificate).where(
        col(CaCertificate.serial_number).in_([normal(x) for x in serial_numbers]),
        col(CaCertificate.revoked_at).is_not(None),
    )
    return [_listed(row) for row in (await session.scalars(query)).all()]


def _narrowed(
    query: "SelectOfScalar[CaCertificate]", wanted: Wanted
) -> "SelectOfScalar[CaCertificate]":
    row = CaCertificate
    if wanted.serial_number:
        query = query.where(col(row.serial_number) == normal(wanted.serial_number))
    if wanted.person_id:
        query = query.where(col(row.person_id) == wanted.person_id)
    if wanted.profile:
        query = query.where(col(row.profile) == wanted.profile)
    if wanted.subject:
        # The index alone is read through for the words, and then only the rows that have them.
        folded = col(row.subject_folded)
        found = select(row.id).where(folded.contains(wanted.subject.casefold(), autoescape=True))
        query = query.where(col(row.id).in_(found))
    return query.where(*_standing(wanted))


def _standing(wanted: Wanted) -> list[ColumnElement[bool]]:
    ends, revoked = col(CaCertificate.not_after), col(CaCertificate.revoked_at)
    found: list[ColumnElement[bool]] = []
    if wanted.standing is Standing.REVOKED:
        found.append(revoked.is_not(None))
    elif wanted.standing is Standing.EXPIRED:
        found += [revoked.is_(None), ends <= wanted.now]
    elif wanted.standing is Standing.VALID or wanted.expires_before:
        found += [revoked.is_(None), ends > wanted.now]
    if wanted.expires_before:
        found.append(ends <= wanted.expires_before)
    return found


def normal(serial_number: str) -> str:
    """Return the serial number as it is kept: hexadecimal, no leading zeros, no colons."""
    try:
        return format(int(serial_number.replace(":", ""), 16), "x")
    except ValueError as error:
        raise Refused("a serial number is written in hexadecimal") from error


def _listed(row: CaCertificate) -> Listed:
    return Listed(
        position=row.id or 0,
        serial_number=row.serial_number,
        request_id=row.request_id or "",
        person_id=row.person_id,
        profile=row.profile,
        certificate_pem=row.certificate_pem,
        not_before=row.not_before,
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        revocation_reason=row.revocation_reason,
        revoked_by=row.revoked_by,
        revocation_note=row.revocation_note,
        on_crl=row.on_crl,
    )
