"""OCSP (RFC 6960): a delegated signer answers; the issuing key is not needed for it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import ocsp
from sqlmodel import select

from cardflow.ca import RevocationReason
from cardflow.ca.embedded.building import Issuer, draft_responder
from cardflow.ca.embedded.issuing import Issuance, linted
from cardflow.ca.embedded.keys import replace_file
from cardflow.ca.tables import CaCertificate
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect
from cardflow.secret_files import read_secret
from cardflow.sql import Sessions, looking, transaction

RENEW_BEFORE = timedelta(days=7)
FRESH = timedelta(hours=1)
LONGEST_NONCE = 128  # RFC 9654 2.1
LONGEST_REQUEST = 4_096
CERTIFICATE_ID_HASHES = ("sha1", "sha256", "sha384", "sha512")  # SHA-1 names, it protects nothing


@dataclass(frozen=True)
class Signer:
    """The key that signs OCSP replies, and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def load_signer(path: Path) -> Signer:
    """Return the signer that the worker left, or raise Unavailable while there is none."""
    try:
        content = read_secret(path)
    except Refused as error:
        raise Unavailable(f"no OCSP signer: {error}") from error
    key = load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Unavailable(f"{path} holds a key of another kind")
    return Signer(key, x509.load_pem_x509_certificate(content))


class Responder:
    """Answers OCSP requests from the records, and renews its own certificate where it can sign."""

    def __init__(self, sessions: Sessions, issuer: Issuer, path: Path) -> None:
        self._sessions = sessions
        self._issuer = issuer
        self._path = path
        self._loaded: tuple[int, Signer] | None = None

    def signer(self) -> Signer:
        """Return the newest signer; the file is read again when it changed."""
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if self._loaded is None or self._loaded[0] != changed:
            self._loaded = (changed, load_signer(self._path))
        return self._loaded[1]

    async def renew_if_due(self, issuance: Issuance, now: datetime) -> bool:
        """Have a signer that is good for days to come; tell whether a new one was made.

        The file holds key and certificate together, so that nobody reads a pair that does not fit.
        It is not encrypted: the key is worth 14 days and can say nothing but what OCSP says.
        """
        if not self._is_due(now):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        draft = await issuance.in_thread(
            lambda: linted(draft_responder(self._issuer, key.public_key(), now))
        )
        row = draft.row()
        with effect("ca.responder"):
            async with transaction(self._sessions) as session:
                session.add(row)
            row.certificate_pem = await issuance.sign(row.draft)
            async with transaction(self._sessions) as session:
                await session.merge(row)
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            replace_file(self._path, private + row.certificate_pem.encode())
        return True

    def _is_due(self, now: datetime) -> bool:
        try:
            return self.signer().certificate.not_valid_after_utc < now + RENEW_BEFORE
        except Unavailable:
            return True

    async def answer(self, request_der: bytes, now: datetime) -> bytes:
        """Return the OCSP response, which is an unsigned error where the request deserves one."""
        try:
            request = _read(request_der)
        except ValueError:
            return _error(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        if not self._is_ours(request):
            return _error(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        query = select(CaCertificate).where(
            CaCertificate.serial_number == format(request.serial_number, "x"),
            CaCertificate.certificate_pem != "",
        )
        async with looking(self._sessions) as session:
            row = (await session.scalars(query)).one_or_none()
        return self._sign(request, row, now)

    def _is_ours(self, request: ocsp.OCSPRequest) -> bool:
        if request.hash_algorithm.name not in CERTIFICATE_ID_HASHES:
            return False
        asked = (request.issuer_name_hash, request.issuer_key_hash)
        return asked == _issuer_hashes(self._issuer.certificate, request.hash_algorithm)

    def _sign(self, request: ocsp.OCSPRequest, row: CaCertificate | None, now: datetime) -> bytes:
        signer = self.signer()
        begins = now.astimezone(UTC).replace(microsecond=0)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            request.issuer_name_hash,
            request.issuer_key_hash,
            request.serial_number,
            request.hash_algorithm,
            _status(row),
            begins,
            begins + FRESH,
            _revoked_at(row),
            _reason(row),
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        builder = builder.certificates([signer.certificate])
        for nonce in _nonces(request):
            builder = builder.add_extension(nonce, critical=False)
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _read(request_der: bytes) -> ocsp.OCSPRequest:
    if len(request_der) > LONGEST_REQUEST:
        msg = "longer than any request for one certificate"
        raise ValueError(msg)
    request = ocsp.load_der_ocsp_request(request_der)
    if any(not 1 <= len(nonce.nonce) <= LONGEST_NONCE for nonce in _nonces(request)):
        msg = "the nonce has a length that RFC 9654 forbids"
        raise ValueError(msg)
    return request


def _nonces(request: ocsp.OCSPRequest) -> list[x509.OCSPNonce]:
    return [e.value for e in request.extensions if isinstance(e.value, x509.OCSPNonce)]


def _error(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _issuer_hashes(
    issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> tuple[bytes, bytes]:
    """Return RFC 6960 4.1.1's issuerNameHash and issuerKeyHash."""
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError(key)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return _hash(issuer.subject.public_bytes(), algorithm), _hash(point, algorithm)


def _hash(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _status(row: CaCertificate | None) -> ocsp.OCSPCertStatus:
    if row is None:
        return ocsp.OCSPCertStatus.UNKNOWN
    return ocsp.OCSPCertStatus.REVOKED if row.revoked_at else ocsp.OCSPCertStatus.GOOD


def _revoked_at(row: CaCertificate | None) -> datetime | None:
    return row.revoked_at.replace(microsecond=0) if row and row.revoked_at else None


def _reason(row: CaCertificate | None) -> x509.ReasonFlags | None:
    if row is None or row.revocation_reason in ("", RevocationReason.UNSPECIFIED):
        return None
    return x509.ReasonFlags(row.revocation_reason)
