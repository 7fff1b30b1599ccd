"""Signed actions: what a person did, under a key whose certificate the organisation's root signed.

Pure: a token, the root's public key and nothing else give the action or the reason it is refused.
A token is a compact JWS (RFC 7515, EdDSA by RFC 8037) with the signing key's certificate in
``x5c``, so signing keys rotate without touching open updates.
"""

import base64
import binascii
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cardflow.errors import Refused
from cardflow.model import Action, UpdateInput
from cardflow.policy import canonical_digest
from cardflow.wire import from_json, to_json

TYPE = "cardflow-action+jws"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cardflow decision root")])
MAX_TOKEN = 16_384


@dataclass(frozen=True)
class Signer:
    """What the API holds to sign actions with."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    def sign(self, action: Action) -> str:
        """Return the action as a token."""
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        header = {"alg": "EdDSA", "typ": TYPE, "x5c": chain}
        signed = f"{_part(header)}.{_part(to_json(action))}"
        return f"{signed}.{_base64url(self.key.sign(signed.encode()))}"


def issue_signer(root: Ed25519PrivateKey, *, now: datetime, days: int = 397) -> Signer:
    """Return a new signing key with its certificate under ``root``."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cardflow decision signer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(root, None)
    )
    return Signer(key, certificate)


def root_hex(root: Ed25519PublicKey) -> str:
    """Return the root's raw public key in hex, as workflow inputs carry it."""
    return root.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def read(token: str, root: str) -> Action:
    """Return the action that ``token`` carries, or raise Refused with why it does not count."""
    if len(token) > MAX_TOKEN or token.count(".") != 2:  # noqa: PLR2004 a compact JWS has three parts
        raise Refused("the action carries no token of this system")
    signed, _, signature = token.rpartition(".")
    header, claims = (_json(part) for part in signed.split("."))
    if header.get("typ") != TYPE or header.get("alg") != "EdDSA":
        raise Refused("the token is not a signed action")
    certificate = _certificate(header)
    _check_issued_by(certificate, root)
    _check_signature(certificate, signature, signed)
    action = from_json(Action, claims)
    if not certificate.not_valid_before_utc <= action.at <= certificate.not_valid_after_utc:
        raise Refused("the token's signing key was not valid when the action was taken")
    return action


def peek(token: str) -> Action:
    """Return the action of a token without judging it; for showing, never for deciding."""
    return from_json(Action, _json(token.split(".")[1]))


def _certificate(header: dict[str, object]) -> x509.Certificate:
    match header.get("x5c"):
        case [str(first), *_]:
            try:
                return x509.load_der_x509_certificate(base64.b64decode(first, validate=True))
            except ValueError as error:
                raise Refused("the token's certificate cannot be read") from error
    raise Refused("the token brings no certificate")


def _check_issued_by(certificate: x509.Certificate, root: str) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(root))
        key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except (InvalidSignature, ValueError) as error:
        raise Refused("the token's signing key does not belong to this organisation") from error


def _check_signature(certificate: x509.Certificate, signature: str, signed: str) -> None:
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("the token's signing key is of another kind")
    try:
        key.verify(_bytes(signature), signed.encode())
    except InvalidSignature as error:
        raise Refused("the token's signature is wrong") from error


def _part(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return _base64url(text.encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise Refused("the token is not base64url") from error


def _json(part: str) -> dict[str, object]:
    try:
        value = json.loads(_bytes(part))
    except ValueError as error:
        raise Refused("the token is not JSON") from error
    if not isinstance(value, dict):
        raise Refused("the token is not a JSON object")
    return value


def utc_now() -> datetime:
    """Return the instant; for callers outside workflows only."""
    return datetime.now(UTC)


def opening_digest(update: UpdateInput) -> str:
    """Return the digest that an OPEN action binds: everything in the input but the token itself."""
    return canonical_digest(to_json(replace(update, token="", resumed=None)))
