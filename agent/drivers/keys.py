"""Keys on a card as ``cryptography`` private keys, so that X.509 builders can sign with them.

Digests are made on the host and signed with the raw mechanisms (CKM_RSA_PKCS over a DigestInfo,
CKM_ECDSA over the digest): the one way that every module tried accepts.
"""

import secrets
from functools import lru_cache
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from pkcs11 import Attribute, KeyType, Mechanism, PKCS11Error
from pkcs11.util.ec import encode_ec_public_key

from agent.drivers.failures import named
from cardflow.x509 import verify_signature

Item = Any  # an object of python-pkcs11, whose class is made up while it is read
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_DIGEST_INFO = {  # RFC 8017 9.2, note 1
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
}


class _OnCard:
    """What both kinds of key share: the private part stays where it is."""

    def __init__(self, private: Item, public: PublicKey) -> None:
        self._private = private
        self._public = public

    def private_numbers(self) -> NoReturn:
        raise UnsupportedAlgorithm("the key is on a card and stays there")

    def private_bytes(self, *_: Any) -> NoReturn:
        raise UnsupportedAlgorithm("the key is on a card and stays there")

    @property
    def handle(self) -> int:
        return int(self._private.handle)

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: dict[Any, Any]) -> Any:
        return self


class CardRSAKey(_OnCard, rsa.RSAPrivateKey):
    """An RSA key on a card; signs PKCS #1 v1.5."""

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public  # type: ignore[return-value]

    def sign(self, data: bytes, padding: Any, algorithm: Any) -> bytes:
        if not isinstance(padding, PKCS1v15):
            raise UnsupportedAlgorithm("the card's raw mechanism pads by PKCS #1 v1.5")
        block = _DIGEST_INFO[algorithm.name] + _digest(data, algorithm)
        with named():
            return bytes(self._private.sign(block, mechanism=Mechanism.RSA_PKCS))

    def decrypt(self, ciphertext: bytes, padding: Any) -> NoReturn:
        raise UnsupportedAlgorithm("cards are asked to sign only")


class CardECKey(_OnCard, ec.EllipticCurvePrivateKey):
    """An elliptic curve key on a card; signs ECDSA."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public  # type: ignore[return-value]

    @property
    def curve(self) -> ec.EllipticCurve:
        return self.public_key().curve

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        digest = _digest(bytes(data), signature_algorithm.algorithm)
        with named():
            raw = bytes(self._private.sign(digest, mechanism=Mechanism.ECDSA))
        half = len(raw) // 2
        return utils.encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )

    def exchange(self, algorithm: Any, peer_public_key: Any) -> NoReturn:
        raise UnsupportedAlgorithm("cards are asked to sign only")


CardKey = CardRSAKey | CardECKey


def card_key(private: Item, public: PublicKey) -> CardKey:
    """Return ``private`` as the private half of ``public``; whether it is, ``proves`` tells."""
    if isinstance(public, rsa.RSAPublicKey):
        return CardRSAKey(private, public)
    return CardECKey(private, public)


def public_key_of(key: Item) -> PublicKey | None:
    """Return the public key that the attributes of a key object spell out, if they do."""
    try:
        if key.key_type is KeyType.RSA:
            modulus, exponent = key[Attribute.MODULUS], key[Attribute.PUBLIC_EXPONENT]
            numbers = rsa.RSAPublicNumbers(
                int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
            )
            return numbers.public_key()
        if key.key_type is KeyType.EC:
            return _ec_key(key[Attribute.EC_PARAMS], key[Attribute.EC_POINT])
    except (PKCS11Error, ValueError, TypeError, UnsupportedAlgorithm):
        return None  # torn, or a private key whose module keeps the point to itself
    return None


@lru_cache(maxsize=64)  # a visit asks a dozen times for the same few keys
def _ec_key(parameters: bytes, point: bytes) -> ec.EllipticCurvePublicKey | None:
    key: Any = {Attribute.EC_PARAMS: parameters, Attribute.EC_POINT: point}  # all that is asked for
    public = serialization.load_der_public_key(encode_ec_public_key(key))
    return public if isinstance(public, ec.EllipticCurvePublicKey) else None


def sign_sha256(key: CardKey, data: bytes) -> bytes:
    """Return the card's signature over ``data`` (PKCS #1 v1.5 or ECDSA, with SHA-256)."""
    if isinstance(key, CardRSAKey):
        return key.sign(data, PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def proves(key: CardKey) -> bool:
    """Tell whether the card signs a fresh nonce so that the key's public half verifies it."""
    nonce = secrets.token_bytes(32)
    return verify_signature(key.public_key(), sign_sha256(key, nonce), nonce)


def _digest(data: bytes, algorithm: Any) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
