"""The keys on which a pack hangs; they come from where the verifier trusts, never with it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cardflow.decisions import root_hex
from cardflow.errors import Refused
from cardflow.x509 import load_certificate

BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
SUFFIXES = (".pem", ".crt", ".cer")


@dataclass(frozen=True)
class Roots:
    """Decision roots (raw keys, hex) and root certificates of CAs."""

    decision: tuple[str, ...]
    ca: tuple[x509.Certificate, ...]


def load_roots(path: Path) -> Roots:
    """Return the root keys in a file, or in every PEM file of a directory."""
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES)
    try:
        blocks = [match for file in files for match in BLOCK.finditer(file.read_text())]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read as PEM") from error
    roots = Roots(
        decision=tuple(_decision_roots(m[0] for m in blocks if m[1] == "PUBLIC KEY")),
        ca=tuple(load_certificate(m[0]) for m in blocks if m[1] == "CERTIFICATE"),
    )
    if not roots.decision:
        raise Refused(f"{path} holds no decision root: a public key, Ed25519, PEM")
    if not roots.ca:
        raise Refused(f"{path} holds no root certificate of a CA, PEM")
    return roots


def _decision_roots(blocks: Iterable[str]) -> Iterable[str]:
    for block in blocks:
        try:
            key = load_pem_public_key(block.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Refused("a public key among the roots cannot be read") from error
        if not isinstance(key, Ed25519PublicKey):
            raise Refused("a public key among the roots is of another kind than Ed25519")
        yield root_hex(key)
