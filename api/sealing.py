"""What strangers carry for us, sealed so that they can return their own and forge none.

Temporal's task tokens above all, which are plain and unsigned: whoever reads one can write another
agent's; and what a sign-in that is under way needs to know when it comes back.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardflow.errors import Refused
from cardflow.key_ring import Ring

NONCE_BYTES = 12  # NIST SP 800-38D 5.2.1.1
LONGEST = 8_192
TASK, SIGN_IN = b"cardflow-task-v1", b"cardflow-sign-in-v1"
SEALED = r"^[A-Za-z0-9_.-]*$"  # base64url with a dot between


class Sealer:
    """AES-256-GCM, bound to a purpose and to whom the sealed was handed to."""

    def __init__(self, ring: Ring, purpose: bytes = TASK) -> None:
        self._ring, self._purpose = ring, purpose

    def seal(self, token: bytes, agent_id: str) -> str:
        """Return the token as text that only ``open`` for the same agent reads."""
        key_id, nonce = self._ring.current, os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(self._ring.key(key_id)).encrypt(nonce, token, self._bound(agent_id))
        return f"{_text(key_id.encode())}.{_text(sealed)}"

    def open(self, task: str, agent_id: str) -> bytes:
        """Return the token, or refuse what was not sealed here for this agent."""
        foreign = Refused("this job was not handed to this agent")
        key_id, dot, sealed = task.partition(".")
        if not dot or len(task) > LONGEST:
            raise foreign
        try:
            data = _bytes(sealed)
            cipher = AESGCM(self._ring.key(_bytes(key_id).decode()))
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], self._bound(agent_id))
        except (InvalidTag, ValueError, Refused):
            raise foreign from None

    def _bound(self, agent_id: str) -> bytes:
        return self._purpose + b"\0" + agent_id.encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
