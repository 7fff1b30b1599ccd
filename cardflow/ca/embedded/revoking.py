"""Revocation: recorded first, then published; the newest CRL always lists all that was recorded."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from cardflow.ca import RevocationReason
from cardflow.ca.embedded.building import CRL_LIFE, Issuer, Revoked, Validity, build_crl
from cardflow.ca.embedded.issuing import Issuance
from cardflow.ca.tables import CaCertificate, CaCrl
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect
from cardflow.sql import Sessions, looking, transaction

RENEW_AFTER = timedelta(hours=6)
KEPT_AFTER_EXPIRY = timedelta(days=7)  # RFC 5280 3.3 asks for one CRL after the expiry
KEPT_CRLS = 10
TRIES = 10


class Revocations:
    """Who is revoked, and the CRLs that say so."""

    def __init__(self, sessions: Sessions, issuer: Issuer, issuance: Issuance) -> None:
        self._sessions = sessions
        self._issuer = issuer
        self._issuance = issuance

    async def record(
        self,
        serial_number: str,
        reason: RevocationReason,
        now: datetime,
        *,
        by: str = "",
        note: str = "",
    ) -> None:
        """Have the certificate revoked for good; the first reason stays."""
        query = select(CaCertificate).where(CaCertificate.serial_number == _hex(serial_number))
        with effect("ca.revoke"):
            async with transaction(self._sessions) as session:
                row = (await session.scalars(query.with_for_update())).one_or_none()
                if row is None or not row.certificate_pem:
                    raise Refused(
                        f"this CA issued no certificate with the serial number {serial_number}"
                    )
                if row.revoked_at is None:
                    row.revoked_at, row.revocation_reason = now, reason
                    row.revoked_by, row.revocation_note = by, note

    async def publish_if_due(self, now: datetime) -> bool:
        """Have a fresh CRL that lists every recorded revocation; tell whether one was made."""
        if not await self._is_due(now):
            return False
        for _ in range(TRIES):
            try:
                with effect("ca.crl"):
                    return await self._publish(now)
            except IntegrityError:
                # Another process took the number: look again, for what it could not see yet.
                continue
        raise Unavailable("the CRL is being renewed by many at once")

    async def _is_due(self, now: datetime) -> bool:
        async with looking(self._sessions) as session:
            newest = await _newest(session)
            fresh = newest is not None and newest.this_update > now - RENEW_AFTER
            return not fresh or bool(await _unlisted(session))

    async def _publish(self, now: datetime) -> bool:
        async with transaction(self._sessions) as session:  # no failpoint: the caller has one
            newest = await _newest(session)
            unlisted = await _unlisted(session)
            fresh = newest is not None and newest.this_update > now - RENEW_AFTER
            if fresh and not unlisted:
                return False
            number = newest.number + 1 if newest else 1
            for row in unlisted:
                row.on_crl = number
            session.add(await self._build(session, number, now))
            await session.execute(delete(CaCrl).where(col(CaCrl.number) <= number - KEPT_CRLS))
            return True

    async def _build(self, session: AsyncSession, number: int, now: datetime) -> CaCrl:
        entries = [_entry(row) for row in await _listed(session, now)]
        period = Validity(now.replace(microsecond=0), now.replace(microsecond=0) + CRL_LIFE)
        key, issuer = self._issuance.key, self._issuer.certificate
        crl = await self._issuance.in_thread(
            lambda: build_crl(issuer, key, number, entries, period).public_bytes(Encoding.DER)
        )
        return CaCrl(
            number=number, der=crl, this_update=period.not_before, next_update=period.not_after
        )

    async def newest(self) -> CaCrl | None:
        """Return the newest CRL, if there is one."""
        async with looking(self._sessions) as session:
            return await _newest(session)


async def _newest(session: AsyncSession) -> CaCrl | None:
    number = select(func.max(CaCrl.number)).scalar_subquery()
    return (await session.scalars(select(CaCrl).where(CaCrl.number == number))).one_or_none()


async def _unlisted(session: AsyncSession) -> Sequence[CaCertificate]:
    revoked = col(CaCertificate.revoked_at).is_not(None)
    query = select(CaCertificate).where(revoked, col(CaCertificate.on_crl).is_(None))
    return (await session.scalars(query)).all()


async def _listed(session: AsyncSession, now: datetime) -> Sequence[CaCertificate]:
    revoked = col(CaCertificate.revoked_at).is_not(None)
    current = col(CaCertificate.not_after) > now - KEPT_AFTER_EXPIRY
    query = select(CaCertificate).where(revoked, current).order_by(col(CaCertificate.id))
    return (await session.scalars(query)).all()


def _entry(row: CaCertificate) -> Revoked:
    if row.revoked_at is None:
        raise ValueError(row.serial_number)
    reason = RevocationReason(row.revocation_reason)
    return Revoked(int(row.serial_number, 16), row.revoked_at.replace(microsecond=0), reason)


def _hex(serial_number: str) -> str:
    try:
        return format(int(serial_number, 16), "x")
    except ValueError as error:
        raise Refused("a serial number is written in hexadecimal") from error
