"""Encrypts what workflows store, so Temporal and its operators hold ciphertext only."""

import logging
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from cardflow.errors import Refused
from cardflow.key_ring import Ring
from cardflow.temporal.foreign import marked_foreign

ENCODING = b"binary/cardflow-aes256gcm"
WORKFLOW = "workflow"  # in the metadata: an id, which Temporal has in clear anyway
COMPRESSION, DEFLATE = "compression", b"deflate"  # in the metadata; RFC 1950
NONCE_BYTES = 12  # NIST SP 800-38D 5.2.1.1
# What a schedule starts has the time in its id, and each run is given the result of the last.
STARTED_AT = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

log = logging.getLogger("cardflow.security")


class EncryptingCodec(PayloadCodec, WithSerializationContext):
    """AES-256-GCM; the ids of key and workflow are in the metadata, and all are authenticated.

    Where the SDK says whose payload it reads, one of another workflow is refused. What was written
    before payloads were bound, and what belongs to no workflow, names none. What becomes shorter by
    it is compressed first, and says so in its metadata.
    """

    def __init__(self, ring: Ring, workflow: str = "") -> None:
        self._ring = ring
        self._workflow = workflow

    def with_context(self, context: SerializationContext) -> Self:
        """Return the codec of one workflow's payloads."""
        return type(self)(self._ring, _workflow_of(context))

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
        metadata = {"encoding": ENCODING, "key-id": key_id.encode()}
        if self._workflow:
            metadata[WORKFLOW] = self._workflow.encode()
        plain = payload.SerializeToString()
        if len(shorter := zlib.compress(plain)) < len(plain):
            metadata[COMPRESSION], plain = DEFLATE, shorter
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._ring.key(key_id))
        data = nonce + cipher.encrypt(nonce, plain, _bound(metadata))
        return Payload(metadata=metadata, data=data)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata["key-id"].decode(errors="replace")
        workflow = payload.metadata.get(WORKFLOW, b"").decode(errors="replace")
        if workflow and self._workflow and workflow != self._workflow:
            raise Refused(f"a payload of {workflow} was put in {self._workflow}")
        nonce, data = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        cipher = AESGCM(self._ring.key(key_id))
        try:
            plain = cipher.decrypt(nonce, data, _bound(payload.metadata))
        except (InvalidTag, ValueError) as error:
            raise Refused(f"a payload under key {key_id!r} was changed or cut") from error
        # Only who has our key made this: it is as long as what we compressed.
        is_compressed = payload.metadata.get(COMPRESSION) == DEFLATE
        return Payload.FromString(zlib.decompress(plain) if is_compressed else plain)


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


def _bound(metadata: Mapping[str, bytes]) -> bytes:
    """Return what is authenticated beside the data."""
    encoding = ENCODING + metadata.get(COMPRESSION, b"")
    workflow = metadata.get(WORKFLOW, b"")
    return b"\0".join([encoding, metadata["key-id"], *([workflow] if workflow else ())])


def _workflow_of(context: SerializationContext) -> str:
    if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
        return STARTED_AT.sub("", context.workflow_id or "")
    return ""
