"""Checks of what an agent sends back: pure, so that the workflow itself can judge the proofs."""

import base64
from collections.abc import Collection

from cryptography.hazmat.primitives.serialization import Encoding

from cardflow.errors import Refused
from cardflow.jobs import Inventory, JobResult, PreparedKey, WriteProof, write_message
from cardflow.model import Lane, ObjectRef
from cardflow.x509 import (
    csr_objections,
    load_certificate,
    load_csr,
    sha256_of,
    spki_sha256,
    verify_signature,
)


def key_objections(lane: Lane, key: PreparedKey) -> list[str]:
    """Return why the key that an agent reports cannot be the lane's; none means it is."""
    if key.cka_id != lane.plan.cka_id:
        return ["the key is filed under another id than was ordered"]
    try:
        return csr_objections(key.csr_pem, lane.plan.key_type)
    except Refused as refused:
        return refused.objections


def spki_of_csr(csr_pem: str) -> str:
    """Return the SHA-256 (hex) of the public key that a CSR is for."""
    return spki_sha256(load_csr(csr_pem))


def gone(asked: Collection[ObjectRef], result: JobResult) -> tuple[ObjectRef, ...]:
    """Return what an agent says it removed, was to remove, and does not itself show on the card."""
    return tuple(
        ref for ref in result.removed if ref in asked and not _is_shown(ref, result.inventory)
    )


def _is_shown(ref: ObjectRef, inventory: Inventory | None) -> bool:
    if inventory is None:
        return False
    certificates = {sha256_of_pem(c.certificate_pem) for c in inventory.certificates
                    if c.cka_id == ref.cka_id}  # fmt: skip
    keys = {key.spki_sha256 for key in inventory.keys if key.cka_id == ref.cka_id}
    if not ref.certificate_sha256 and not ref.spki_sha256:
        return bool(certificates or keys)
    return ref.certificate_sha256 in certificates or ref.spki_sha256 in keys - {""}


def sha256_of_pem(certificate_pem: str) -> str:
    """Return the SHA-256 (hex) of a certificate; empty when it cannot be read."""
    try:
        return sha256_of(load_certificate(certificate_pem).public_bytes(Encoding.DER))
    except Refused:
        return ""


def write_objections(lane: Lane, proof: WriteProof, *, nonce: str, token_serial: str) -> list[str]:
    """Return why an agent's proof does not show the lane's certificate on the card; none: it does.

    The read-back bytes must be the issued ones, and the certificate's key must have signed the
    server's nonce with them and the card's serial, so neither an old proof nor another card passes.
    """
    try:
        read_back = load_certificate(proof.certificate_pem)
        signature = base64.b64decode(proof.signature, validate=True)
    except (Refused, ValueError):
        return ["the proof cannot be read"]
    issued = load_certificate(lane.certificate_pem)
    if proof.cka_id != lane.plan.cka_id:
        return ["the certificate was written under another id than was ordered"]
    if read_back != issued:
        return ["the certificate read back from the card is not the one that was issued"]
    message = write_message(nonce, bytes.fromhex(lane.certificate_sha256), token_serial)
    if not verify_signature(issued.public_key(), signature, message):
        return ["the key on the card did not sign the proof"]
    return []
