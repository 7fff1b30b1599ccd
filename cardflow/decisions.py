"""Signed actions: what a person did, under a key whose certificate the organisation's root signed.

Pure: a token, the root's public key and nothing else give the action or the reason it is refused.
A token is a compact JWS (RFC 7515, EdDSA by RFC 8037) with the signing key's certificate in
``x5c``, so signing keys rotate without touching open updates.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cardflow.errors import Refused
from cardflow.model import Action, UpdateInput
from cardflow.policy import canonical_digest
from cardflow.wire import from_json, parsed, to_json

TYPE = "cardflow-action+jws"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cardflow decision root")])
MAX_TOKEN = 16_384
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Signer:
    """What the API holds to sign actions with."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    def sign(self, action: Action) -> str:
        """Return the action as a token."""
        return self.seal(TYPE, to_json(action))

    def seal(self, kind: str, claims: object) -> str:
        """Return claims (JSON types) as a token of this kind, which passes for no other."""
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        header = {"alg": "EdDSA", "typ": kind, "x5c": chain}
        signed = f"{_part(header)}.{_part(claims)}"
        return f"{signed}.{_base64url(self.key.sign(signed.encode()))}"


@dataclass(frozen=True)
class Sealed:
    """What a token says, and the certificate of the key that signed it; both were checked."""

    claims: dict[str, object]
    certificate: x509.Certificate

    def refuse_unless_valid(self, at: datetime) -> None:
        """Raise Refused unless the signing key was valid at the instant."""
        certificate = self.certificate
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise Refused("the token's signing key was not valid when the action was taken")


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
    opened = unseal(token, root, TYPE)
    action = from_json(Action, opened.claims)
    opened.refuse_unless_valid(action.at)
    return action


def refuse_unless_current(token: str, root: str, now: datetime) -> None:
    """Raise Refused unless the key that signed the token is still one to sign with.

    The instant in a token is its signer's word: who stole a key that has ended would date back.
    """
    certificate = unseal(token, root, TYPE).certificate
    if now > certificate.not_valid_after_utc:
        raise Refused("the token's signing key has ended")


def unseal(token: str, root: str, kind: str) -> Sealed:
    """Return what a token of this kind says, its signature checked up to ``root``; or Refused."""
    if len(token) > MAX_TOKEN or token.count(".") != 2:  # noqa: PLR2004 a compact JWS has three parts
        raise Refused("the action carries no token of this system")
    signed, _, signature = token.rpartition(".")
    header, claims = (_json(part) for part in signed.split("."))
    if header.get("typ") != kind or header.get("alg") != "EdDSA":
        named = kind.removeprefix("cardflow-").removesuffix("+jws")
        raise Refused(f"the token is not a signed {named}")
    certificate = _certificate(header, root)
    _check_signature(certificate, signature, signed)
    return Sealed(claims, certificate)


def peek(token: str) -> Action:
    """Return the action of a token without judging it; for showing, never for deciding."""
    return from_json(Action, claims_of(token))


def claims_of(token: str) -> dict[str, object]:
    """Return what a token says without judging it, or raise Refused when it says nothing."""
    return _json(token.split(".")[1] if "." in token else "")


def _certificate(header: dict[str, object], root: str) -> x509.Certificate:
    match header.get("x5c"):
        case [str(first), *_]:
            return _trusted(first, root)
    raise Refused("the token brings no certificate")


@lru_cache(maxsize=64)  # a few signing keys make all tokens of many years
def _trusted(encoded: str, root: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(encoded, validate=True))
    except (ValueError, x509.InvalidVersion) as error:
        raise Refused("the token's certificate cannot be read") from error
    check_issued_by(certificate, root)
    return certificate


def check_issued_by(certificate: x509.Certificate, root: str) -> None:
    """Raise Refused unless the organisation's root signed the signing key's certificate."""
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
    if not _BASE64URL.fullmatch(part):  # the decoder would pass over what is none
        raise Refused("the token is not base64url")
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise Refused("the token is not base64url") from error


def _json(part: str) -> dict[str, object]:
    data = _bytes(part)
    try:
        value = parsed(data)
    except Refused as error:
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


def resuming_digest(update: UpdateInput) -> str:
    """Return the digest that a RESUME action binds: the input, and the state to go on from."""
    state = update.resumed
    bare = replace(state, resumption="") if state else None
    return canonical_digest(to_json(replace(update, token="", resumed=bare)))
