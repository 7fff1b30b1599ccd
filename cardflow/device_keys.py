"""How a workstation changes its device key: the old key signs the request, the new one itself."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cardflow.errors import Refused
from cardflow.job_keys import raw_hex

# The y of the points whose order divides 8, little-endian; p and p + 1 are 0 and 1 once more.
SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
DUE = "cardflow-device-key"  # the header that says ``due`` when a key grows old


@dataclass(frozen=True)
class NewDeviceKey:
    """``POST /agent/v1/device-key``: a raw Ed25519 key, hex, and its signature over the change."""

    public_key: str
    proof: str


def new_device_key(key: Ed25519PrivateKey, agent_id: str) -> NewDeviceKey:
    """Return what a workstation says of its new key."""
    public_key = raw_hex(key)
    return NewDeviceKey(public_key, key.sign(_said(public_key, agent_id)).hex())


def device_key(public_key: str) -> Ed25519PublicKey:
    """Return the key (raw, hex), or raise Refused for what is no key that only its owner signs by.

    Under a point of small order anybody makes signatures that verify: RFC 8032 leaves it to the
    protocol to keep such keys out.
    """
    try:
        raw = bytes.fromhex(public_key)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise Refused("public_key: the device key is no Ed25519 key") from None
    if raw[:-1] + bytes([raw[-1] & 0x7F]) in SMALL_ORDER:
        raise Refused("public_key: anybody could sign by this key; make another")
    return key


def check_new_device_key(said: NewDeviceKey, agent_id: str) -> None:
    """Return if whoever says this has the key, else raise Refused."""
    key = device_key(said.public_key)
    try:
        key.verify(bytes.fromhex(said.proof), _said(said.public_key, agent_id))
    except (InvalidSignature, ValueError) as error:
        raise Refused("proof: the new key did not sign the change") from error


def _said(public_key: str, agent_id: str) -> bytes:
    return f"cardflow-device-key-v1\0{agent_id}\0{public_key}".encode()
