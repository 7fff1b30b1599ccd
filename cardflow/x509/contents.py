"""What stands in a certificate's extensions, for showing; and certificates in other forms."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier

from cardflow.x509.acceptance import KEY_USAGES
from cardflow.x509.naming import SID_EXTENSION
from cardflow.x509.reading import UNREADABLE, facts_of_certificate, load_certificate, tolerant

Extension = TypeVar("Extension", bound=x509.ExtensionType)
SID = re.compile(rb"S-1-5[-\d]+")


@dataclass(frozen=True)
class CertificateContents:
    """A certificate's extensions; what it does not carry, or what cannot be read, is empty."""

    signature_algorithm: str
    alternative_names: tuple[str, ...]
    key_usage: tuple[str, ...]  # names of RFC 5280 4.2.1.3
    extended_key_usage: tuple[str, ...]  # dotted OIDs
    certificate_policies: tuple[str, ...]  # dotted OIDs
    ocsp_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]


def contents_of_certificate(pem: str) -> CertificateContents:
    """Return what the certificate's extensions say."""
    certificate = load_certificate(pem)
    with tolerant():
        return CertificateContents(
            signature_algorithm=_algorithm(certificate),
            alternative_names=_alternative_names(certificate, pem),
            key_usage=_key_usage(certificate),
            extended_key_usage=_oids(certificate, x509.ExtendedKeyUsage),
            certificate_policies=_policies(certificate),
            ocsp_urls=_access(certificate, AuthorityInformationAccessOID.OCSP),
            crl_urls=_crl_urls(certificate),
            issuer_urls=_access(certificate, AuthorityInformationAccessOID.CA_ISSUERS),
        )


def chain_as(form: str, certificates: Sequence[x509.Certificate]) -> bytes:
    """Return the certificates as ``der`` (only the first), ``p7b`` (PKCS #7), or else PEM."""
    if form == "der":
        return certificates[0].public_bytes(Encoding.DER)
    if form == "p7b":
        return pkcs7.serialize_certificates(list(certificates), Encoding.DER)
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _value(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (*UNREADABLE, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None


def _algorithm(certificate: x509.Certificate) -> str:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UNREADABLE:
        algorithm = None
    oid = certificate.signature_algorithm_oid
    return f"{oid.dotted_string} ({algorithm.name})" if algorithm else oid.dotted_string


def _alternative_names(certificate: x509.Certificate, pem: str) -> tuple[str, ...]:
    facts = facts_of_certificate(pem)
    found = [f"upn: {facts.upn}"] if facts.upn else []
    if names := _value(certificate, x509.SubjectAlternativeName):
        found += [f"email: {name}" for name in names.get_values_for_type(x509.RFC822Name)]
        found += [f"dns: {name}" for name in names.get_values_for_type(x509.DNSName)]
    return (*found, *_sids(certificate))


def _sids(certificate: x509.Certificate) -> list[str]:
    try:
        (extension,) = (e for e in certificate.extensions if e.oid == SID_EXTENSION)
    except (*UNREADABLE, x509.DuplicateExtension):
        return []
    return [f"sid: {sid.decode()}" for sid in SID.findall(extension.value.public_bytes())]


def _key_usage(certificate: x509.Certificate) -> tuple[str, ...]:
    usage = _value(certificate, x509.KeyUsage)
    if usage is None:
        return ()
    return tuple(name for name, attribute in KEY_USAGES.items() if getattr(usage, attribute))


def _oids(certificate: x509.Certificate, kind: type[x509.ExtendedKeyUsage]) -> tuple[str, ...]:
    usage = _value(certificate, kind)
    return tuple(oid.dotted_string for oid in usage or ())


def _policies(certificate: x509.Certificate) -> tuple[str, ...]:
    policies = _value(certificate, x509.CertificatePolicies)
    return tuple(policy.policy_identifier.dotted_string for policy in policies or ())


def _access(certificate: x509.Certificate, method: ObjectIdentifier) -> tuple[str, ...]:
    places = _value(certificate, x509.AuthorityInformationAccess)
    return _urls([place.access_location for place in places or () if place.access_method == method])


def _crl_urls(certificate: x509.Certificate) -> tuple[str, ...]:
    points = _value(certificate, x509.CRLDistributionPoints)
    return _urls([name for point in points or () for name in point.full_name or ()])


def _urls(names: Sequence[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(n.value for n in names if isinstance(n, x509.UniformResourceIdentifier))
