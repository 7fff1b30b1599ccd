"""Whether a certificate that a CA sent back is the one that was asked for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from cardflow.errors import Refused
from cardflow.model import Profile, Subject
from cardflow.x509.naming import SID_EXTENSION, sid_extension, subject_alt_names, subject_name
from cardflow.x509.reading import UNREADABLE, load_certificate, load_csr, spki_sha256, tolerant

Extension = TypeVar("Extension", bound=x509.ExtensionType)

SKEW = timedelta(minutes=10)  # the CA's clock and ours
GRACE = timedelta(days=1)  # CAs differ in whether the last day counts
MAX_SERIAL_BITS = 160  # RFC 5280 4.1.2.2: 20 octets
HASHES = ("sha256", "sha384", "sha512")
KEY_USAGES = {
    "digitalSignature": "digital_signature",
    "contentCommitment": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
UNDERSTOOD = frozenset(
    {
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.BasicConstraints.oid,
        x509.SubjectAlternativeName.oid,
        x509.CertificatePolicies.oid,
    }
)


def certificate_objections(
    certificate_pem: str,
    *,
    csr_pem: str,
    profile: Profile,
    subject: Subject,
    issuer_chain_pem: Sequence[str],
    now: datetime,
) -> list[str]:
    """Return every way in which the certificate is not what was asked for.

    ``issuer_chain_pem`` runs from the issuing CA to the root and comes from our configuration,
    never from the answer that brought the certificate.
    """
    try:
        certificate = load_certificate(certificate_pem)
        chain = [load_certificate(pem) for pem in issuer_chain_pem]
        csr = load_csr(csr_pem)
        name = subject_name(subject, profile)
        others = subject_alt_names(subject, profile)
    except Refused as error:
        return error.objections
    with tolerant():
        return [
            *_key_objections(certificate, csr),
            *_name_objections(certificate, name),
            *_extension_objections(certificate, profile, others),
            *_sid_objections(certificate, subject if profile.sid_extension else None),
            *_number_objections(certificate),
            *_validity_objections(certificate, profile, now),
            *_chain_objections(certificate, chain, now),
        ]


def _key_objections(
    certificate: x509.Certificate, csr: x509.CertificateSigningRequest
) -> list[str]:
    same = spki_sha256(certificate) == spki_sha256(csr)
    return [] if same else ["the certificate is for another key"]


def _name_objections(certificate: x509.Certificate, wanted: x509.Name) -> list[str]:
    try:
        # Compared as text: the string type is the CA's to choose (RFC 5280 7.1).
        same = _as_text(certificate.subject) == _as_text(wanted)
    except UNREADABLE:
        same = False
    return [] if same else ["the certificate is for another subject"]


def _as_text(name: x509.Name) -> list[tuple[str, str | bytes]]:
    return sorted((attribute.oid.dotted_string, attribute.value) for attribute in name)


def _extension_objections(
    certificate: x509.Certificate, profile: Profile, others: list[x509.GeneralName]
) -> list[str]:
    try:
        extensions = certificate.extensions
        key = certificate.public_key()
    except (*UNREADABLE, x509.DuplicateExtension):
        return ["the certificate's extensions or key cannot be read"]
    return [
        *_alternative_name_objections(extensions, others),
        *_key_usage_objections(extensions, profile, key),
        *_extended_usage_objections(extensions, profile),
        *_authority_objections(extensions),
        *_critical_objections(extensions),
    ]


def _alternative_name_objections(
    extensions: x509.Extensions, wanted: list[x509.GeneralName]
) -> list[str]:
    found = _value(extensions, x509.SubjectAlternativeName)
    same = _comparable(list(found) if found else []) == _comparable(wanted)
    return [] if same else ["the certificate carries other alternative names"]


def _comparable(names: list[x509.GeneralName]) -> set[tuple[str, object]]:
    return {
        ("email", name.value.lower()) if isinstance(name, x509.RFC822Name) else ("other", name)
        for name in names
    }


def _key_usage_objections(
    extensions: x509.Extensions, profile: Profile, key: PublicKeyTypes
) -> list[str]:
    usage = _value(extensions, x509.KeyUsage)
    if usage is None:
        return ["the certificate has no key usage"]
    found = {name for name, attribute in KEY_USAGES.items() if getattr(usage, attribute)}
    wanted = set(key_usages(profile, key))
    return [] if found == wanted else [_other("key usage", found, wanted)]


def key_usages(profile: Profile, key: PublicKeyTypes) -> tuple[str, ...]:
    """Return the profile's key usages as this kind of key can serve them.

    An EC key agrees on keys and an RSA key enciphers them; a profile names both (RFC 8551 4.4.2).
    """
    unfit = "keyEncipherment" if isinstance(key, ec.EllipticCurvePublicKey) else "keyAgreement"
    return tuple(usage for usage in profile.key_usage if usage != unfit)


def _extended_usage_objections(extensions: x509.Extensions, profile: Profile) -> list[str]:
    usage = _value(extensions, x509.ExtendedKeyUsage)
    found = {oid.dotted_string for oid in usage or ()}
    wanted = set(profile.extended_key_usage)
    return [] if found == wanted else [_other("extended key usage", found, wanted)]


def _other(what: str, found: set[str], wanted: set[str]) -> str:
    return f"{what}: {', '.join(sorted(found)) or 'none'} instead of {', '.join(sorted(wanted))}"


def _authority_objections(extensions: x509.Extensions) -> list[str]:
    constraints = _value(extensions, x509.BasicConstraints)
    return ["the certificate is a CA's"] if constraints is not None and constraints.ca else []


def _critical_objections(extensions: x509.Extensions) -> list[str]:
    unknown = [e.oid.dotted_string for e in extensions if e.critical and e.oid not in UNDERSTOOD]
    return [f"a critical extension is unknown: {', '.join(unknown)}"] if unknown else []


def _sid_objections(certificate: x509.Certificate, subject: Subject | None) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_oid(SID_EXTENSION).value.public_bytes()
    except (*UNREADABLE, x509.ExtensionNotFound, x509.DuplicateExtension):
        found = b""
    wanted = sid_extension(subject.sid).public_bytes() if subject and subject.sid else b""
    return [] if found == wanted else ["the certificate carries another security identifier"]


def _value(extensions: x509.Extensions, kind: type[Extension]) -> Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _number_objections(certificate: x509.Certificate) -> list[str]:
    number = certificate.serial_number
    fits = number > 0 and number.bit_length() < MAX_SERIAL_BITS
    return [] if fits else ["the serial number is not a positive number of at most 20 octets"]


def _validity_objections(
    certificate: x509.Certificate, profile: Profile, now: datetime
) -> list[str]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = []
    if begins > now + SKEW:
        found.append("the certificate is not valid yet")
    if ends <= now:
        found.append("the certificate has expired")
    if ends - begins > timedelta(days=profile.validity_days) + GRACE:
        found.append(f"the certificate is valid for more than {profile.validity_days} days")
    return found


def _chain_objections(
    certificate: x509.Certificate, chain: Sequence[x509.Certificate], now: datetime
) -> list[str]:
    if not chain:
        return ["no CA certificate is configured to check against"]
    found = []
    for child, parent in zip([certificate, *chain], [*chain, chain[-1]], strict=True):
        found += _link_objections(child, parent)
    return found + [o for authority in chain for o in _authority_date_objections(authority, now)]


def _link_objections(child: x509.Certificate, parent: x509.Certificate) -> list[str]:
    name = parent.subject.rfc4514_string()
    try:
        child.verify_directly_issued_by(parent)
    except (InvalidSignature, *UNREADABLE):
        return [f"the certificate was not signed by {name}"]
    algorithm = child.signature_hash_algorithm
    if algorithm is None or algorithm.name in HASHES:
        return []
    return [f"{name} signed with {algorithm.name}"]


def _authority_date_objections(authority: x509.Certificate, now: datetime) -> list[str]:
    if authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return []
    return [f"the certificate of {authority.subject.rfc4514_string()} is not valid now"]
