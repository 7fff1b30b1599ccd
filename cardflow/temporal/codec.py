"""Encrypts what workflows store, so Temporal and its operators hold ciphertext only."""

import logging
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from cardflow.errors import Refused
from cardflow.key_ring import Ring
from cardflow.temporal.foreign import marked_foreign

ENCODING = b"binary/cardflow-aes256gcm"
NONCE_BYTES = 12  # NIST SP 800-38D 5.2.1.1

log = logging.getLogger("cardflow.security")


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM; the key's id is in the metadata, and both are authenticated."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return every payload, metadata included, encrypted under the current key."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return what was encrypted; plaintext passes through."""
        return [
            self._decrypt(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypt(self, payload: Payload) -> Payload:
        key_id = self._ring.current
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._ring.key(key_id))
        data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), _bound(key_id))
        return Payload(metadata={"encoding": ENCODING, "key-id": key_id.encode()}, data=data)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata["key-id"].decode(errors="replace")
        nonce, data = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            plain = AESGCM(self._ring.key(key_id)).decrypt(nonce, data, _bound(key_id))
        except (InvalidTag, ValueError) as error:
            raise Refused(f"a payload under key {key_id!r} was changed or cut") from error
        return Payload.FromString(plain)


class WaryCodec(EncryptingCodec):
    """The codec of Cardflow's own processes: what we did not encrypt comes out marked as foreign.

    Raising here would stall a workflow for one broken signal: this runs before anybody knows what
    a payload is for. Who asks for a value of a foreign payload is refused with the reason.
    """

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return what was encrypted, and the rest in its mark."""
        return [self._judged(payload) for payload in payloads]

    def _judged(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return marked_foreign(payload, "a payload was not encrypted by this installation")
        try:
            return self._decrypt(payload)
        except (Refused, DecodeError) as error:
            log.error("a payload cannot be decrypted: %s", error)  # noqa: TRY400 (told in words)
            return marked_foreign(payload, str(error))


def _bound(key_id: str) -> bytes:
    return ENCODING + b"\0" + key_id.encode()
