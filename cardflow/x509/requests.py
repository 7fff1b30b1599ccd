"""What speaks against a CSR; of a CSR only the public key is ever used."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from cardflow.errors import Refused
from cardflow.model import KeyType
from cardflow.x509.key_quality import key_objections
from cardflow.x509.reading import UNREADABLE, key_type_of, load_csr, readable_name

HASHES = ("sha256", "sha384", "sha512")
# NIST SP 800-57 part 1, table 2
SECURITY_BITS = {
    KeyType.RSA_2048: 112,
    KeyType.RSA_3072: 128,
    KeyType.P_256: 128,
    KeyType.P_384: 192,
}


@dataclass(frozen=True)
class CsrFacts:
    """What a CSR says of itself, and whether its key signed it."""

    subject: str  # RFC 4514; never used for the certificate
    key_type: str
    security_bits: int  # 0: not a type that we ask for
    signature_hash: str
    proof_of_possession: bool


def facts_of_csr(csr_pem: str) -> CsrFacts:
    """Return what the CSR says; it was taken in before, so it can be read."""
    csr = load_csr(csr_pem)
    key_type = key_type_of(csr.public_key())
    algorithm = csr.signature_hash_algorithm
    return CsrFacts(
        subject=readable_name(csr),
        key_type=key_type,
        security_bits=next((bits for kind, bits in SECURITY_BITS.items() if kind == key_type), 0),
        signature_hash=algorithm.name if algorithm else "",
        proof_of_possession=not _possession_objections(csr),
    )


def csr_objections(csr_pem: str, key_type: KeyType | None) -> list[str]:
    """Return every reason why no certificate may be made from this CSR.

    ``key_type`` is what the policy asks for; None accepts any type that is strong enough.
    """
    try:
        csr = load_csr(csr_pem)
        key = csr.public_key()
    except Refused as error:
        return error.objections
    except UNREADABLE:
        return ["the public key in the certificate request cannot be read or is not a valid one"]
    return [
        *key_objections(key),
        *_type_objections(key, key_type),
        *_hash_objections(csr),
        *_possession_objections(csr),
    ]


def _type_objections(key: PublicKeyTypes, key_type: KeyType | None) -> list[str]:
    found = key_type_of(key)
    if key_type is None or found == key_type:
        return []
    return [f"the key is {found}, and {key_type} was asked for"]


def _hash_objections(csr: x509.CertificateSigningRequest) -> list[str]:
    try:
        algorithm = csr.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ["the signature algorithm of the certificate request is unknown"]
    if algorithm is None or algorithm.name in HASHES:
        return []
    return [f"the certificate request is signed with {algorithm.name}; SHA-256 or better is needed"]


def _possession_objections(csr: x509.CertificateSigningRequest) -> list[str]:
    try:
        valid = csr.is_signature_valid
    except UNREADABLE:
        valid = False
    return [] if valid else ["the signature of the certificate request does not fit its key"]
