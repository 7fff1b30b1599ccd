"""Data sealed for a text column: AES-256-GCM, with the id of its key, bound to where it stands."""

import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardflow.errors import Refused
from cardflow.key_ring import Ring

NONCE_BYTES = 12  # NIST SP 800-38D 5.2.1.1


def seal(ring: Ring, data: bytes, bound: bytes) -> str:
    """Return ``data`` encrypted under the ring's current key."""
    key_id, nonce = ring.current, os.urandom(NONCE_BYTES)
    sealed = nonce + AESGCM(ring.key(key_id)).encrypt(nonce, data, bound)
    return json.dumps({"key": key_id, "data": sealed.hex()})


def unseal(ring: Ring, text: str, bound: bytes) -> bytes:
    """Return what was sealed."""
    stored = json.loads(text)
    sealed = bytes.fromhex(stored["data"])
    try:
        cipher = AESGCM(ring.key(stored["key"]))
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except InvalidTag as error:
        raise Refused("what is kept sealed was changed; use a new key") from error


def key_of(text: str) -> str:
    """Return the id of the key under which something is sealed."""
    return str(json.loads(text)["key"])
