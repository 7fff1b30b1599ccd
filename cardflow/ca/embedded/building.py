"""Certificates and CRLs as bytes; no I/O.

A certificate is first drafted: complete, but signed with a key that is thrown away. The draft is
linted, and then exactly its to-be-signed part gets the CA's signature, so what was linted is what
is signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from cardflow.ca import RevocationReason
from cardflow.model import Profile, Subject
from cardflow.x509.acceptance import KEY_USAGES, key_usages
from cardflow.x509.naming import sid_extension, subject_alt_names, subject_name

BACKDATED = timedelta(minutes=5)  # clocks of relying parties run late
RESPONDER_LIFE = timedelta(days=14)
CRL_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Issuer:
    """A CA as far as its certificates show it, and where its services are."""

    certificate: x509.Certificate
    public_url: str
    ca_path: str = "/pki/ca.cer"
    crl_path: str = "/pki/crl"
    ocsp_path: str = "/pki/ocsp"  # empty: a CA without OCSP, such as the offline root

    def address(self, path: str) -> x509.UniformResourceIdentifier:
        """Return where a service is.

        RFC 5280 4.2.1.6 wants a full domain name or an address, and "localhost" is neither.
        """
        parts = urlsplit(self.public_url + path)
        if parts.hostname == "localhost":
            port = f":{parts.port}" if parts.port else ""
            parts = parts._replace(netloc=f"127.0.0.1{port}")
        return x509.UniformResourceIdentifier(parts.geturl())


def url_objections(public_url: str) -> list[str]:
    """Return why certificates cannot point to services at this URL."""
    parts = urlsplit(public_url)
    host = parts.hostname or ""
    found = []
    if parts.scheme not in ("http", "https") or not host:
        found.append("public_url: an http or https URL is needed")
    if parts.path or parts.query or parts.fragment:
        found.append("public_url: nothing may follow host and port")
    if host != "localhost" and not (":" in host or "." in host):
        found.append("public_url: certificates need a full domain name or an address")
    return found


@dataclass(frozen=True)
class Validity:
    """From when until when, in whole seconds."""

    not_before: datetime
    not_after: datetime


def validity(now: datetime, life: timedelta, issuer: x509.Certificate) -> Validity:
    """Return a validity that begins a little early and never outlives the issuer."""
    begins = max(now - BACKDATED, issuer.not_valid_before_utc).replace(microsecond=0)
    return Validity(begins, min(begins + life, issuer.not_valid_after_utc))


def draft_leaf(
    issuer: Issuer,
    profile: Profile,
    subject: Subject,
    public_key: CertificatePublicKeyTypes,
    period: Validity,
) -> x509.Certificate:
    """Return a draft of a person's certificate; of the CSR only the public key came here."""
    builder = _builder(issuer, subject_name(subject, profile), public_key, period)
    builder = builder.add_extension(_key_usage(key_usages(profile, public_key)), critical=True)
    usages = [x509.ObjectIdentifier(oid) for oid in profile.extended_key_usage]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if names := subject_alt_names(subject, profile):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(_policies(issuer.certificate), critical=False)
    if profile.sid_extension and subject.sid:
        builder = builder.add_extension(sid_extension(subject.sid), critical=False)
    return _draft(_with_services(builder, issuer), issuer)


def draft_responder(
    issuer: Issuer, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.Certificate:
    """Return a draft of the certificate that signs OCSP replies (RFC 6960 4.2.2.2)."""
    name = x509.Name(
        [
            *issuer.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder"),
        ]
    )
    builder = _builder(issuer, name, public_key, validity(now, RESPONDER_LIFE, issuer.certificate))
    builder = builder.add_extension(_key_usage(("digitalSignature",)), critical=True)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    builder = builder.add_extension(usage, critical=False)
    return _draft(builder.add_extension(x509.OCSPNoCheck(), critical=False), issuer)


def _builder(
    issuer: Issuer, name: x509.Name, public_key: CertificatePublicKeyTypes, period: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer.certificate.subject)
        .subject_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())  # 159 random bits
        .not_valid_before(period.not_before)
        .not_valid_after(period.not_after)
        .add_extension(authority_key(issuer.certificate), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the AKI that names the issuer's SKI."""
    key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key)


def _key_usage(names: tuple[str, ...]) -> x509.KeyUsage:
    usage = {attribute: name in names for name, attribute in KEY_USAGES.items()}
    return x509.KeyUsage(**usage, encipher_only=False, decipher_only=False)


def key_usage_of_ca() -> x509.KeyUsage:
    """Return what a CA's key is for."""
    return _key_usage(("keyCertSign", "cRLSign"))


def _policies(issuer: x509.Certificate) -> x509.CertificatePolicies:
    return issuer.extensions.get_extension_for_class(x509.CertificatePolicies).value


def _with_services(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.CertificateBuilder:
    return builder.add_extension(crl_points(issuer), critical=False).add_extension(
        access(issuer), critical=False
    )


def crl_points(issuer: Issuer) -> x509.CRLDistributionPoints:
    """Return where the issuer's CRL is."""
    where = [issuer.address(issuer.crl_path)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(where, None, None, None)])


def access(issuer: Issuer) -> x509.AuthorityInformationAccess:
    """Return where the issuer's certificate is, and its OCSP responder when it has one."""
    places = [(AuthorityInformationAccessOID.CA_ISSUERS, issuer.ca_path)]
    if issuer.ocsp_path:
        places.insert(0, (AuthorityInformationAccessOID.OCSP, issuer.ocsp_path))
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(method, issuer.address(path)) for method, path in places]
    )


# Signing


@asn1.sequence
class _Signed:
    """RFC 5280 4.1: a certificate as its three parts."""

    tbs: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


def hash_for(certificate: x509.Certificate) -> hashes.SHA256 | hashes.SHA384:
    """Return the hash that fits the strength of the CA's key."""
    key = certificate.public_key()
    strong = isinstance(key, ec.EllipticCurvePublicKey) and key.key_size > 256  # noqa: PLR2004
    return hashes.SHA384() if strong else hashes.SHA256()


@cache
def _throwaway() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _draft(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.Certificate:
    return builder.sign(_throwaway(), hash_for(issuer.certificate))


def sign_draft(
    draft_der: bytes, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate
) -> x509.Certificate:
    """Return the draft with the CA's signature, verified.

    A key in a file signs deterministically (RFC 6979), so that signing again after a crash gives
    the same bytes.
    """
    draft = asn1.decode_der(_Signed, draft_der)
    tbs = asn1.encode_der(draft.tbs)
    signature = key.sign(tbs, ec.ECDSA(hash_for(issuer), deterministic_signing=True))
    draft.signature = asn1.BitString(signature, 0)
    certificate = x509.load_der_x509_certificate(asn1.encode_der(draft))
    certificate.verify_directly_issued_by(issuer)
    return certificate


# CRLs


@dataclass(frozen=True)
class Revoked:
    """One line of a CRL."""

    serial_number: int
    revoked_at: datetime
    reason: RevocationReason


def build_crl(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    number: int,
    entries: Iterable[Revoked],
    period: Validity,
) -> x509.CertificateRevocationList:
    """Return a signed CRL."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(period.not_before)
        .next_update(period.not_after)
        .add_extension(authority_key(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(_crl_entry(entry))
    return builder.sign(key, hash_for(issuer))


def _crl_entry(entry: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(entry.serial_number)
        .revocation_date(entry.revoked_at)
    )
    # RFC 5280 5.3.1: "unspecified" is said by saying nothing.
    if entry.reason is not RevocationReason.UNSPECIFIED:
        reason = x509.CRLReason(x509.ReasonFlags(entry.reason))
        builder = builder.add_extension(reason, critical=False)
    return builder.build()


def pem(certificate: x509.Certificate) -> str:
    """Return the certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()
