"""What speaks against a CSR; of a CSR only the public key is ever used."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from cardflow.errors import Refused
from cardflow.model import KeyType
from cardflow.x509.key_quality import key_objections
from cardflow.x509.reading import UNREADABLE, key_type_of, load_csr

HASHES = ("sha256", "sha384", "sha512")


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
