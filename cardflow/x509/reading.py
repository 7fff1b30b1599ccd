"""Reading certificates and CSRs that anybody may have made, without trusting their form."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardflow.errors import Refused
from cardflow.x509.naming import ATTRIBUTE_NAMES, UPN

MAX_PEM = 65_536
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says of itself; nothing here was verified."""

    subject: str  # RFC 4514
    issuer: str  # RFC 4514
    serial_number: str  # hex, no leading zeros
    not_before: datetime
    not_after: datetime
    sha256: str  # of the DER
    spki_sha256: str
    key_type: str  # a KeyType's value, or another short name
    upn: str
    email: str


def load_certificate(pem: str) -> x509.Certificate:
    """Return the one certificate in ``pem``, or raise Refused."""
    with _readable("certificate", pem, "CERTIFICATE"):
        certificate = x509.load_pem_x509_certificate(pem.encode())
        certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018 both parse
        return certificate


def load_csr(pem: str) -> x509.CertificateSigningRequest:
    """Return the one CSR in ``pem``, or raise Refused."""
    with _readable("certificate request", pem, "CERTIFICATE REQUEST"):
        return x509.load_pem_x509_csr(pem.encode())


@contextmanager
def _readable(what: str, pem: str, label: str) -> Iterator[None]:
    if len(pem) > MAX_PEM:
        raise Refused(f"the {what} is longer than {MAX_PEM} characters")
    begin, end = (f"-----{word} {label}-----" for word in ("BEGIN", "END"))
    text = pem.strip()
    if text.count("-----BEGIN") != 1 or not (text.startswith(begin) and text.endswith(end)):
        raise Refused(f"exactly one PEM block '{label}' is expected, and nothing else")
    try:
        with tolerant():
            yield
    except UNREADABLE as error:
        raise Refused(f"the {what} cannot be read: {_why(error)}") from error


@contextmanager
def tolerant() -> Iterator[None]:
    """Other people's certificates break rules; what cryptography says of that is not our log's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def sha256_of(der: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(der).hexdigest()


def spki_sha256(
    holder: PublicKeyTypes | x509.CertificateSigningRequest | x509.Certificate,
) -> str:
    """Return the SHA-256 (hex) of the SubjectPublicKeyInfo, also of key types unknown to us."""
    try:
        key = (
            holder.public_key()
            if isinstance(holder, x509.Certificate | x509.CertificateSigningRequest)
            else holder
        )
        return sha256_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except UNREADABLE:
        if not isinstance(holder, x509.Certificate):
            raise
        return sha256_of(_raw_spki(holder))


@asn1.sequence
class _Tbs:
    """RFC 5280 4.1, as far as needed to cut out the public key of an algorithm we do not know."""

    version: Annotated[int | None, asn1.Explicit(0)]
    serial_number: asn1.TLV
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    subject_public_key_info: asn1.TLV
    issuer_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[asn1.TLV] | None, asn1.Explicit(3)]


def _raw_spki(certificate: x509.Certificate) -> bytes:
    parsed = asn1.decode_der(_Tbs, certificate.tbs_certificate_bytes)
    return asn1.encode_der(parsed.subject_public_key_info)


def facts_of_certificate(pem: str) -> CertificateFacts:
    """Return what the certificate says of itself; oddities become readable text, never an error."""
    certificate = load_certificate(pem)
    with tolerant():
        return CertificateFacts(
            subject=readable_name(certificate, "subject"),
            issuer=readable_name(certificate, "issuer"),
            serial_number=format(certificate.serial_number, "x"),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            sha256=sha256_of(certificate.public_bytes(Encoding.DER)),
            spki_sha256=spki_sha256(certificate),
            key_type=_key_type(certificate),
            upn=_first_upn(certificate),
            email=_first_email(certificate),
        )


def readable_name(
    holder: x509.Certificate | x509.CertificateSigningRequest, which: str = "subject"
) -> str:
    """Return a name by RFC 4514; one that is no text is told as such."""
    try:
        name: x509.Name = getattr(holder, which)
        return name.rfc4514_string(ATTRIBUTE_NAMES)
    except UNREADABLE:
        return "(unreadable name)"


def _key_type(certificate: x509.Certificate) -> str:
    try:
        return key_type_of(certificate.public_key())
    except UNREADABLE:
        return certificate.public_key_algorithm_oid.dotted_string


def key_type_of(key: PublicKeyTypes) -> str:
    """Return the key type's name, spelled as in ``KeyType`` where it is one of those."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES.get(key.curve.name, key.curve.name)
    return type(key).__name__.removesuffix("PublicKey")


def _alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return list(extension.value)
    except (*UNREADABLE, x509.ExtensionNotFound, x509.DuplicateExtension):
        return []


def _first_upn(certificate: x509.Certificate) -> str:
    for name in _alternative_names(certificate):
        if isinstance(name, x509.OtherName) and name.type_id == UPN:
            try:
                return asn1.decode_der(str, name.value)
            except UNREADABLE:
                return ""
    return ""


def _first_email(certificate: x509.Certificate) -> str:
    emails = (n for n in _alternative_names(certificate) if isinstance(n, x509.RFC822Name))
    return next((name.value for name in emails), "")


def verify_signature(public_key: PublicKeyTypes, signature: bytes, message: bytes) -> bool:
    """Tell whether the key made the signature (RSASSA-PKCS1-v1_5 or ECDSA, SHA-256)."""
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
