"""The issuing key on a PKCS #11 token: it never leaves it; signatures come from there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pkcs11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.exceptions import PinIncorrect, PinLocked
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from cardflow.errors import Refused, Unavailable
from cardflow.secret_files import read_secret


@dataclass(frozen=True)
class TokenPlace:
    """A key on a token, by labels: slot numbers change."""

    module: str
    token_label: str
    key_label: str


class TokenIssuingKey(ec.EllipticCurvePrivateKey):
    """Signs through the token; one lock, because PKCS #11 modules do not stand two threads.

    The session is opened at the first use and again after the token was away. A refused PIN is
    never sent twice: the token would lock.
    """

    def __init__(self, place: TokenPlace, pin_file: Path) -> None:
        self._place = place
        self._pin_file = pin_file
        self._lock = threading.Lock()
        self._session: pkcs11.Session | None = None
        self._refused = ""

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        digest = _digest(bytes(data), signature_algorithm)
        with self._lock, self._open() as session:
            raw = bytes(self._find(session).sign(digest, mechanism=Mechanism.ECDSA))
        half = len(raw) // 2
        r, s = (int.from_bytes(part, "big") for part in (raw[:half], raw[half:]))
        return utils.encode_dss_signature(r, s)

    def create(self) -> ec.EllipticCurvePublicKey:
        """Leave a new P-384 pair on the token, and return its public key."""
        with self._lock, self._open() as session:
            if list(session.get_objects({Attribute.LABEL: self._place.key_label})):
                raise Refused(f"the token already has an object named {self._place.key_label}")
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp384r1")}
            session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
                label=self._place.key_label,
                id=self._place.key_label.encode(),
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
            )
        return self.public_key()

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @cached_property
    def _public(self) -> ec.EllipticCurvePublicKey:
        with self._lock, self._open() as session:
            der = encode_ec_public_key(self._find(session, ObjectClass.PUBLIC_KEY))
        key = load_der_public_key(der)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Refused("the issuing key on the token is of another kind")
        return key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self.public_key().curve

    @property
    def key_size(self) -> int:
        return self.public_key().key_size

    def exchange(self, algorithm: Any, peer_public_key: Any) -> NoReturn:
        raise UnsupportedAlgorithm("the issuing key only signs")

    def private_numbers(self) -> NoReturn:
        raise UnsupportedAlgorithm("the issuing key stays on its token")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        raise UnsupportedAlgorithm("the issuing key stays on its token")

    def __copy__(self) -> "TokenIssuingKey":
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> "TokenIssuingKey":
        return self

    def _find(self, session: pkcs11.Session, kind: ObjectClass = ObjectClass.PRIVATE_KEY) -> Any:
        wanted = {Attribute.CLASS: kind, Attribute.LABEL: self._place.key_label}
        found = list(session.get_objects(wanted))
        if not found:  # a module may also show nothing when its token was pulled
            raise Unavailable(f"the CA's token shows no key named {self._place.key_label}")
        if len(found) > 1:
            raise Refused(f"{self._place.key_label} names {len(found)} keys on the token, not one")
        return found[0]

    @contextmanager
    def _open(self) -> Iterator[pkcs11.Session]:
        if self._refused:
            raise Refused(self._refused)
        try:
            if self._session is None:
                self._session = self._login()
            yield self._session
        except (PinIncorrect, PinLocked):
            self._refused = f"the token refuses the PIN in {self._pin_file}; correct it and restart"
            raise Refused(self._refused) from None
        except Unavailable:
            self._session = None
            raise
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            self._session = None
            raise Unavailable(f"the CA's token fails ({type(error).__name__})") from error

    def _login(self) -> pkcs11.Session:
        library = pkcs11.lib(self._place.module)
        library.reinitialize()  # a token made or plugged in since is not seen otherwise
        for slot in library.get_slots(token_present=True):
            token = slot.get_token()
            ready = TokenFlag.TOKEN_INITIALIZED in token.flags
            if ready and token.label == self._place.token_label:
                return token.open(rw=True, user_pin=read_secret(self._pin_file).decode().strip())
        raise Unavailable(f"no token named {self._place.token_label} is connected")


def _digest(data: bytes, algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
    """Hash here: SoftHSM and others have only the raw CKM_ECDSA."""
    if not isinstance(algorithm.algorithm, hashes.HashAlgorithm):
        raise UnsupportedAlgorithm("the issuing key hashes what it signs")
    digest = hashes.Hash(algorithm.algorithm)
    digest.update(data)
    return digest.finalize()
