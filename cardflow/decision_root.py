"""The public key that open updates trust, read from the file that settings name."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cardflow.decisions import root_hex
from cardflow.errors import Refused


def read_decision_root(path: Path) -> str:
    """Return the raw key in hex, as workflow inputs carry it."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise Refused(f"{path} holds no readable public key; restore it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(f"{path} holds a key of another kind than Ed25519")
    return root_hex(key)
