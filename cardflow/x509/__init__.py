"""Bytes to facts: what a certificate or a CSR says, and what speaks against it. No I/O."""

from cardflow.x509.acceptance import certificate_objections
from cardflow.x509.contents import CertificateContents, chain_as, contents_of_certificate
from cardflow.x509.naming import (
    ascii_email,
    name_of,
    subject_alt_names,
    subject_dn,
    subject_name,
    subject_objections,
)
from cardflow.x509.reading import (
    CertificateFacts,
    facts_of_certificate,
    key_type_of,
    load_certificate,
    load_csr,
    sha256_of,
    spki_sha256,
    verify_signature,
)
from cardflow.x509.requests import CsrFacts, csr_objections, facts_of_csr

__all__ = [
    "CertificateContents",
    "CertificateFacts",
    "CsrFacts",
    "ascii_email",
    "certificate_objections",
    "chain_as",
    "contents_of_certificate",
    "csr_objections",
    "facts_of_certificate",
    "facts_of_csr",
    "key_type_of",
    "load_certificate",
    "load_csr",
    "name_of",
    "sha256_of",
    "spki_sha256",
    "subject_alt_names",
    "subject_dn",
    "subject_name",
    "subject_objections",
    "verify_signature",
]
