"""How the key that signs jobs is followed by another: the old key itself says by which.

Workstations pin the key at enrolment. One that was away for years follows the chain from the key
that it knows; a key that no known key has named is a stranger's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class Succession:
    """The statement of one key about the next; raw Ed25519 keys and signature, hex."""

    old: str
    new: str
    signature: str = ""


@dataclass(frozen=True)
class JobKeys:
    """Every succession of a server's job key, the oldest first; ``GET /agent/v1/job-keys``."""

    successions: tuple[Succession, ...] = ()


def raw_hex(key: Ed25519PrivateKey) -> str:
    """Return the public part of a key as it is pinned."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def succession(old: Ed25519PrivateKey, new: str, issuer: str) -> Succession:
    """Return the old key's statement that ``new`` signs the jobs of this server from now on."""
    unsigned = Succession(raw_hex(old), new)
    signature = old.sign(_said(unsigned, issuer)).hex()
    return Succession(unsigned.old, new, signature)


def followed(pinned: str, successions: Sequence[Succession], issuer: str) -> str:
    """Return the key that the pinned one leads to; itself, where it names no other."""
    key, seen = pinned, {pinned}
    while following := _next(key, successions, issuer):
        if following in seen:
            return key
        seen.add(following)
        key = following
    return key


def _next(key: str, successions: Sequence[Succession], issuer: str) -> str | None:
    named = (one.new for one in successions if one.old == key and _is_signed(one, issuer))
    return next(named, None)


def _is_signed(one: Succession, issuer: str) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(one.old))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(one.new))
        key.verify(bytes.fromhex(one.signature), _said(one, issuer))
    except (InvalidSignature, ValueError):
        return False
    return True


def _said(one: Succession, issuer: str) -> bytes:
    return f"cardflow-job-key-v1\0{issuer}\0{one.old}\0{one.new}".encode()
