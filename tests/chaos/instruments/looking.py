"""The oracle's look at a card: the real SoftHSM, and none of the agent's drivers.

What it reports is what a program of the holder's would find: which certificates are there, and for
which of them the key beside it signs.
"""

import hashlib
import secrets
from collections import Counter
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, Mechanism, ObjectClass

from agent.messages import Channel

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
KINDS = {
    "certificate": ObjectClass.CERTIFICATE,
    "private": ObjectClass.PRIVATE_KEY,
    "public": ObjectClass.PUBLIC_KEY,
}


def serve(channel: Channel) -> None:
    """Answer one question: what is filed under these ids?"""
    asked = channel.receive(None)
    token = next(
        t for t in pkcs11.lib(SOFTHSM).get_tokens() if t.serial.decode() == asked["serial"]
    )
    with token.open(user_pin=asked["pin"]) as session:
        ids = [bytes.fromhex(cka_id) for cka_id in asked["ids"]]
        channel.send({cka_id.hex(): _under(session, cka_id) for cka_id in ids})


def _under(session: Any, cka_id: bytes) -> dict[str, Any]:
    found = {name: _objects(session, kind, cka_id) for name, kind in KINDS.items()}
    ders = [bytes(certificate[Attribute.VALUE]) for certificate in found["certificate"]]
    return {
        "counts": {name: len(objects) for name, objects in found.items()},
        "certificates": dict(Counter(_digest(der) for der in ders)),
        "usable": sorted(
            {_digest(d) for d in ders if any(_signs(key, d) for key in found["private"])}
        ),
    }


def _objects(session: Any, kind: ObjectClass, cka_id: bytes) -> list[Any]:
    wanted = {Attribute.CLASS: kind, Attribute.ID: cka_id, Attribute.TOKEN: True}
    return list(session.get_objects(wanted))


def _digest(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def _signs(private: Any, der: bytes) -> bool:
    """Tell whether the key's signature over a nonce verifies under the certificate."""
    digest = hashlib.sha256(secrets.token_bytes(32)).digest()
    try:
        raw = private.sign(digest, mechanism=Mechanism.ECDSA)
        half = len(raw) // 2
        parts = (int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        public = x509.load_der_x509_certificate(der).public_key()
        algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        public.verify(utils.encode_dss_signature(*parts), digest, algorithm)
    except (InvalidSignature, ValueError, pkcs11.PKCS11Error):
        return False
    return True
