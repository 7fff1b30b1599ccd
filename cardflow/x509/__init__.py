"""Bytes to facts: what a certificate or a CSR says, and what speaks against it. No I/O."""

from cardflow.x509.acceptance import certificate_objections
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
from cardflow.x509.requests import csr_objections

__all__ = [
    "CertificateFacts",
    "ascii_email",
    "certificate_objections",
    "csr_objections",
    "facts_of_certificate",
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
