"""Looks at a token's own objects, in a process that knows nothing of the product.

``python -m tests.chaos.eye`` answers each line on standard input, ``{"configuration", "label",
"pin"}``, with what is on the token: a fresh fork loads the module for each look, as PKCS#11 wants.
"""

import json
import os
import secrets
import sys
from typing import Any

import pkcs11
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, _pkcs11

from cli.demo_card import module

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 9.2, note 1


def objects(session: Any, kind: ObjectClass) -> list[Any]:
    """Return the objects of a class that can be read at all; a kill may have torn others."""
    found = []
    with _pkcs11.SearchIter(session, {Attribute.CLASS: kind, Attribute.TOKEN: True}, 1) as batches:
        for batch in batches:
            try:
                found += list(batch)
            except pkcs11.PKCS11Error:
                continue
    return found


def value(item: Any, attribute: Attribute) -> bytes:
    """Return an attribute, or nothing when the object does not give it."""
    try:
        return bytes(item[attribute])
    except pkcs11.PKCS11Error:
        return b""


def signs_for(private: Any, certificate: x509.Certificate) -> bool:
    """Tell whether the private key makes a signature that the certificate's key verifies."""
    nonce = secrets.token_bytes(32)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(nonce)
    public = certificate.public_key()
    try:
        if private.key_type is KeyType.EC and isinstance(public, ec.EllipticCurvePublicKey):
            raw = bytes(private.sign(digest.finalize(), mechanism=Mechanism.ECDSA))
            half = len(raw) // 2
            r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            public.verify(utils.encode_dss_signature(r, s), nonce, ec.ECDSA(hashes.SHA256()))
            return True
        if private.key_type is KeyType.RSA:
            block = SHA256_INFO + digest.finalize()
            raw = bytes(private.sign(block, mechanism=Mechanism.RSA_PKCS))
            public.verify(raw, nonce, PKCS1v15(), hashes.SHA256())
            return True
    except (pkcs11.PKCS11Error, InvalidSignature, ValueError, AttributeError):
        return False
    return False


def look(question: dict[str, str]) -> dict[str, Any]:
    """Return certificates (with whether a key on the token signs for them) and keys, by CKA_ID."""
    os.environ["SOFTHSM2_CONF"] = question["configuration"]  # noqa: TID251 (SoftHSM reads it)
    library = pkcs11.lib(module())
    token = library.get_token(token_label=question["label"])
    with token.open(user_pin=question["pin"]) as session:
        privates = objects(session, ObjectClass.PRIVATE_KEY)
        publics = objects(session, ObjectClass.PUBLIC_KEY)
        certificates = []
        for item in objects(session, ObjectClass.CERTIFICATE):
            cka_id, der = value(item, Attribute.ID), value(item, Attribute.VALUE)
            try:
                certificate = x509.load_der_x509_certificate(der)
            except ValueError:
                continue
            mates = [key for key in privates if value(key, Attribute.ID) == cka_id]
            complete = any(signs_for(key, certificate) for key in mates)
            if not complete and not value(item, Attribute.VALUE):
                continue  # it went, and then its key, while we looked
            pem = certificate.public_bytes(Encoding.PEM).decode()
            certificates.append({"cka_id": cka_id.hex(), "pem": pem, "complete": complete})
        return {
            "certificates": certificates,
            "privates": [value(key, Attribute.ID).hex() for key in privates],
            "publics": [value(key, Attribute.ID).hex() for key in publics],
        }


def answer(question: dict[str, str]) -> None:
    """Write what is on the token; a look that failed says why."""
    try:
        seen = look(question)
    except Exception as error:
        seen = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            answer(json.loads(line))
            os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
