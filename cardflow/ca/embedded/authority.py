"""The embedded CA as its callers see it.

To workflows it is a connector, to officers a desk, to everybody a status service. A process without
the issuing key, such as the API, can do everything but sign: take decisions, record revocations,
serve CRL and OCSP replies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from cardflow.ca import Answer, Capabilities, CertificateRequest, RevocationReason
from cardflow.ca.embedded import deciding, requests
from cardflow.ca.embedded.building import Issuer
from cardflow.ca.embedded.health import health_objections
from cardflow.ca.embedded.intake import Examination, Intake
from cardflow.ca.embedded.issuing import Issuance
from cardflow.ca.embedded.keys import Layout
from cardflow.ca.embedded.requests import Place, RequestFacts, Wanted
from cardflow.ca.embedded.responder import Responder
from cardflow.ca.embedded.revoking import Revocations
from cardflow.ca.embedded.setup import load_hierarchy
from cardflow.ca.tables import CaCertificate, State
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect
from cardflow.model import Profile, Verdict
from cardflow.sql import for_reading, looking, sessions_of, transaction

PAGE = 500
WAITING = Wanted(states=(State.PENDING,))


@dataclass(frozen=True)
class IssuedCertificate:
    """One line of what this CA signed; without ``certificate_pem`` its signing was broken off."""

    position: int
    serial_number: str
    request_id: str
    certificate_pem: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str


class EmbeddedCA:
    """Implements ``CertificateAuthority``, and what a CA does besides."""

    capabilities = Capabilities(pending=True, find=True, revoke=True, cancel=True)

    def __init__(
        self,
        engine: AsyncEngine,
        directory: Path,
        profiles: Mapping[str, Profile],
        *,
        public_url: str,
        decision_root: str | None = None,
        issuing_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        self._hierarchy = load_hierarchy(directory)
        if issuing_key and issuing_key.public_key() != self._hierarchy.issuing.public_key():
            raise Refused("the issuing key does not belong to the issuing CA's certificate")
        self._layout = Layout(directory)
        self._decision_root = decision_root
        self._sessions = sessions_of(engine)
        self._reads = sessions_of(for_reading(engine))
        issuer = Issuer(self._hierarchy.issuing, public_url)
        self._issuance = Issuance(self._sessions, issuer, issuing_key)
        self._intake = Intake(
            self._sessions, self._hierarchy, self._issuance, profiles, decision_root
        )
        self._revocations = Revocations(self._sessions, issuer, self._issuance)
        self._responder = Responder(self._sessions, issuer, self._layout.responder)

    def close(self) -> None:
        """End the thread that signs."""
        self._issuance.close()

    # The connector

    async def submit(self, request: CertificateRequest) -> Answer:
        """Take the request in, once; issue at once where no officer is needed."""
        return await self._intake.submit(request)

    async def poll(self, handle: str) -> Answer:
        """Return how the request stands; what officers approved is signed now."""
        return await self._intake.poll(handle)

    async def find(self, request: CertificateRequest) -> Answer | None:
        """Return how the request stands, or None when it never arrived."""
        return await self._intake.find(request)

    async def cancel(self, request: CertificateRequest) -> None:
        """Withdraw the request, arrived or not; what is being issued, or is issued, stays."""
        await self._intake.cancel(request)

    async def revoke(
        self, serial_number: str, reason: RevocationReason, *, by: str = "", note: str = ""
    ) -> None:
        """Revoke for good; the CRL is renewed at once where the issuing key is."""
        await self._revocations.record(serial_number, reason, _now(), by=by, note=note)
        if self._issuance.can_sign:
            await self._revocations.publish_if_due(_now())

    async def ca_certificates(self) -> Sequence[str]:
        """Return the issuing CA's certificate and the root's, PEM."""
        return self._hierarchy.chain_pem

    async def health(self) -> list[str]:
        """Return what an administrator should see to."""
        crl = await self._revocations.newest()
        root_crl = x509.load_der_x509_crl(self.root_crl_der())
        return health_objections(self._hierarchy, root_crl, crl, self._responder, _now())

    def ocsp_signer_until(self) -> datetime:
        """Return how long the OCSP signer's certificate is good, or raise Unavailable."""
        return self._responder.signer().certificate.not_valid_after_utc

    # The officers' desk

    async def list_requests(
        self, wanted: Wanted = WAITING, *, after: Place | None = None, limit: int = PAGE
    ) -> list[RequestFacts]:
        """Return the requests that follow ``after``; at first those that wait, oldest first."""
        async with transaction(self._reads) as session:
            return await requests.listed(session, wanted, after=after, limit=limit)

    async def request(self, request_id: str) -> RequestFacts:
        """Return what an officer is shown of one request."""
        async with transaction(self._reads) as session:
            return await requests.facts(session, await requests.found(session, request_id))

    async def examine(self, request_id: str) -> Examination:
        """Return what a decision rests on besides the facts; the linter runs now."""
        return await self._intake.examine(request_id)

    async def decide(
        self,
        request_id: str,
        officer: str,
        verdict: Verdict,
        reason: str,
        digest: str,
        *,
        token: str = "",
    ) -> RequestFacts:
        """Count an officer's word and return how the request stands now, or raise Refused.

        ``digest`` is the one of the facts that were shown. Signing is left to the worker.
        """
        word = deciding.Word(officer, verdict, reason, digest, token)
        if self._decision_root and (found := deciding.token_objections(word, self._decision_root)):
            raise Refused(*found)
        with effect("ca.decide"):
            async with transaction(self._sessions) as session:
                row = await requests.locked(session, request_id)
                await deciding.decide(session, row, word, _now())
                await session.flush()
                facts = await requests.facts(session, row)
        return facts

    # The status service

    async def crl_der(self) -> bytes:
        """Return the newest CRL, or raise Unavailable before the worker made the first."""
        crl = await self._revocations.newest()
        if crl is None:
            raise Unavailable("there is no CRL yet; the worker makes the first one")
        return crl.der

    def root_crl_der(self) -> bytes:
        """Return the offline root's CRL."""
        return self._layout.root_crl.read_bytes()

    def issuing_certificate_der(self) -> bytes:
        """Return what ``/pki/ca.cer`` serves."""
        return self._hierarchy.issuing.public_bytes(Encoding.DER)

    def root_certificate_der(self) -> bytes:
        """Return what ``/pki/root.cer`` serves."""
        return self._hierarchy.root.public_bytes(Encoding.DER)

    async def ocsp_response(self, request_der: bytes) -> bytes:
        """Return the answer to an OCSP request."""
        return await self._responder.answer(request_der, _now())

    async def issued_certificates(self, cursor: int = 0) -> list[IssuedCertificate]:
        """Return a page of what was signed for people after position ``cursor``."""
        query = (
            select(CaCertificate)
            .where(col(CaCertificate.id) > cursor, col(CaCertificate.request_id).is_not(None))
            .order_by(col(CaCertificate.id))
            .limit(PAGE)
        )
        async with looking(self._sessions) as session:
            return [_line(row) for row in (await session.scalars(query)).all()]

    # The worker's housekeeping

    async def maintain(self) -> list[str]:
        """Renew OCSP signer and CRL, finish what a crash left half done; return what was done."""
        done = []
        if await self._responder.renew_if_due(self._issuance, _now()):
            done.append("renewed the OCSP signer")
        if await self._revocations.publish_if_due(_now()):
            done.append("published a CRL")
        for request_id in await self._issuance.unfinished():
            await self._issuance.finish(await self._issuance.record(request_id), _now())
            done.append(f"signed for {request_id}, where signing was broken off")
        return done


def _line(row: CaCertificate) -> IssuedCertificate:
    return IssuedCertificate(
        position=row.id or 0,
        serial_number=row.serial_number,
        request_id=row.request_id or "",
        certificate_pem=row.certificate_pem,
        not_before=row.not_before,
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        revocation_reason=row.revocation_reason,
    )


def _now() -> datetime:
    return datetime.now(UTC)
