"""From an approved request to a certificate, so that a crash at any instant leaves one, not two.

1. Draft and lint. 2. Commit the draft: serial number and dates are now the request's for ever.
3. Sign exactly that draft. 4. Commit the certificate, unless another process was faster.
5. Answer with what is committed. Whoever finds a draft without a certificate goes on at 3.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import CursorResult, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from cardflow.ca.embedded.building import Issuer, draft_leaf, pem, sign_draft, validity
from cardflow.ca.embedded.lint import Finding, findings_on, refuse_findings
from cardflow.ca.tables import CaCertificate, CaRequest, State
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.model import Profile, Subject
from cardflow.sql import Sessions, looking, transaction
from cardflow.x509.naming import ATTRIBUTE_NAMES

T = TypeVar("T")


@dataclass(frozen=True)
class Draft:
    """A linted draft, and what the linter remarked below a warning."""

    certificate: x509.Certificate
    remarks: tuple[str, ...]

    def row(self, request: CaRequest | None = None) -> CaCertificate:
        """Return the write-ahead record; without a request it is the CA's own."""
        return CaCertificate(
            serial_number=format(self.certificate.serial_number, "x"),
            request_id=request.request_id if request else None,
            draft=self.certificate.public_bytes(Encoding.DER),
            not_before=self.certificate.not_valid_before_utc,
            not_after=self.certificate.not_valid_after_utc,
            profile=request.profile if request else "",
            person_id=request.person_id if request else "",
            subject_folded=self.certificate.subject.rfc4514_string(ATTRIBUTE_NAMES).casefold(),
        )


def linted(certificate: x509.Certificate) -> Draft:
    """Return the draft with the linter's remarks, or raise Refused."""
    return Draft(certificate, refuse_findings(certificate.public_bytes(Encoding.DER)))


class Issuance:
    """Drafts, signs and records; one thread does what is slow and what touches the key."""

    def __init__(
        self, sessions: Sessions, issuer: Issuer, key: ec.EllipticCurvePrivateKey | None
    ) -> None:
        self._sessions = sessions
        self._issuer = issuer
        self._key = key
        self._thread = ThreadPoolExecutor(1, "embedded-ca")

    @property
    def can_sign(self) -> bool:
        """Whether this process holds the issuing key."""
        return self._key is not None

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The issuing key, or Refused where there is none."""
        if self._key is None:
            raise Refused("this process does not hold the issuing key; the worker does")
        return self._key

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Return what ``work`` gives, made in the one thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def draft(
        self,
        profile: Profile,
        subject: Subject,
        public_key: CertificatePublicKeyTypes,
        now: datetime,
    ) -> Draft:
        """Return a linted draft, or raise Refused."""
        return await self.in_thread(lambda: linted(self._leaf(profile, subject, public_key, now)))

    async def trial(
        self,
        profile: Profile,
        subject: Subject,
        public_key: CertificatePublicKeyTypes,
        now: datetime,
    ) -> tuple[Finding, ...]:
        """Return what the linter finds in what would be signed now."""

        def work() -> tuple[Finding, ...]:
            leaf = self._leaf(profile, subject, public_key, now)
            return findings_on(leaf.public_bytes(Encoding.DER))

        return await self.in_thread(work)

    def _leaf(
        self,
        profile: Profile,
        subject: Subject,
        public_key: CertificatePublicKeyTypes,
        now: datetime,
    ) -> x509.Certificate:
        life = timedelta(days=profile.validity_days)
        period = validity(now, life, self._issuer.certificate)
        return draft_leaf(self._issuer, profile, subject, public_key, period)

    def begin(self, session: AsyncSession, row: CaRequest, draft: Draft) -> CaCertificate:
        """Record the draft as the request's: from here on it will be issued."""
        record = draft.row(row)
        row.state = State.SIGNING
        session.add(record)
        return record

    async def record(self, request_id: str | None) -> CaCertificate:
        """Return what was recorded for the request: its draft, and its certificate if signed."""
        query = select(CaCertificate).where(CaCertificate.request_id == request_id)
        async with looking(self._sessions) as session:
            return (await session.scalars(query)).one()

    async def finish(self, record: CaCertificate, now: datetime) -> str:
        """Sign what was recorded and commit it; return the certificate that counts, as PEM."""
        certificate_pem = await self.sign(record.draft)
        if await self._commit(record, certificate_pem, now):
            return certificate_pem
        return (await self.record(record.request_id)).certificate_pem

    async def sign(self, draft_der: bytes) -> str:
        """Return the draft with the CA's signature, as PEM."""
        key, issuer = self.key, self._issuer.certificate
        with effect("ca.sign"):
            return await self.in_thread(lambda: pem(sign_draft(draft_der, key, issuer)))

    async def _commit(self, record: CaCertificate, certificate_pem: str, now: datetime) -> bool:
        unsigned = (col(CaCertificate.id) == record.id, col(CaCertificate.certificate_pem) == "")
        signed = update(CaCertificate).where(*unsigned).values(certificate_pem=certificate_pem)
        asked = update(CaRequest).where(col(CaRequest.request_id) == record.request_id)
        with effect("ca.commit"):
            async with transaction(self._sessions) as session:
                first = cast("CursorResult[Any]", await session.execute(signed)).rowcount == 1
                await session.execute(asked.values(state=State.ISSUED, ended_at=now))
        return first

    async def unfinished(self) -> list[str]:
        """Return the requests whose draft was recorded but not signed."""
        query = select(CaRequest.request_id).where(CaRequest.state == State.SIGNING)
        async with looking(self._sessions) as session:
            return list((await session.scalars(query)).all())
