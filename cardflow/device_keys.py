"""How a workstation changes its device key: the old key signs the request, the new one itself."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cardflow.errors import Refused
from cardflow.job_keys import raw_hex

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


def check_new_device_key(said: NewDeviceKey, agent_id: str) -> None:
    """Return if whoever says this has the key, else raise Refused."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said.public_key))
        key.verify(bytes.fromhex(said.proof), _said(said.public_key, agent_id))
    except (InvalidSignature, ValueError) as error:
        raise Refused("proof: the new key did not sign the change") from error


def _said(public_key: str, agent_id: str) -> bytes:
    return f"cardflow-device-key-v1\0{agent_id}\0{public_key}".encode()
