"""Tokens where the host chooses CKA_ID and every object is written and removed by itself.

SoftHSM, tpm2-pkcs11 and PKCS #15 cards with a writing driver are of this kind. Every method looks
before it acts and may be repeated after a crash at any moment.
"""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, ObjectClass, Session
from pkcs11 import KeyType as TokenKeyType
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters
from pkcs11.util.x509 import decode_x509_certificate

from agent.drivers.failures import CardFailure, named
from agent.drivers.keys import CardKey, Item, PublicKey, card_key, proves, public_key_of
from agent.drivers.objects import certificates_under, under
from cardflow.failpoints import effect
from cardflow.jobs import Outcome
from cardflow.model import KeyType, ObjectRef
from cardflow.x509 import key_type_of, sha256_of, spki_sha256
from cardflow.x509.reading import UNREADABLE

# tpm2-pkcs11 1.9 refuses a usage that is spelled out and takes the same usage as a default.
_PUBLIC = {Attribute.ENCRYPT: DEFAULT, Attribute.WRAP: DEFAULT, Attribute.VERIFY: DEFAULT}
_PRIVATE = {
    Attribute.DECRYPT: DEFAULT,
    Attribute.UNWRAP: DEFAULT,
    Attribute.SIGN: DEFAULT,
    Attribute.DERIVE: DEFAULT,
    Attribute.EXTRACTABLE: False,  # opencryptoki defaults to True
    Attribute.SENSITIVE: True,
}
_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072}
_CURVES = {KeyType.P_256: "secp256r1", KeyType.P_384: "secp384r1"}


class FreeForm:
    """Drives one logged-in session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure_key(self, cka_id: bytes, key_type: KeyType, label: str) -> tuple[CardKey, bool]:
        """Leave exactly one proven pair under our id; return it and whether it was there."""
        key = self._proven_key(cka_id)
        reused = key is not None
        if key is None:
            self._remove_keys(cka_id, keep=None)
            self._generate(cka_id, key_type, label)
            key = self._proven_key(cka_id)
        if key is None:
            raise CardFailure(Outcome.CARD_FAILED, "the new key does not sign what it should")
        if key_type_of(key.public_key()) != key_type:
            raise CardFailure(Outcome.CARD_FAILED, f"the key on the card is not {key_type}")
        self._remove_keys(cka_id, keep=key)
        return key, reused

    def ensure_certificate(self, cka_id: bytes, der: bytes, label: str) -> tuple[bytes, CardKey]:
        """Leave exactly this certificate beside its key; return it as read back, and the key."""
        key = self._key_of(cka_id, x509.load_der_x509_certificate(der))
        if der not in (value for _, value in certificates_under(self._session, cka_id)):
            self._create_certificate(cka_id, der, label)
        stored = certificates_under(self._session, cka_id)
        if (kept := next((item for item, value in stored if value == der), None)) is not None:
            self._destroy([item for item, _ in stored if item is not kept])
        read_back = [value for _, value in certificates_under(self._session, cka_id)]
        if read_back != [der]:
            raise CardFailure(Outcome.CARD_FAILED, "the card did not keep the certificate")
        return read_back[0], key

    def retire(self, ref: ObjectRef) -> None:
        """Leave the card without the objects that ``ref`` names exactly; what else is there stays.

        The public key goes last: an EC private key can often be recognised by it alone, so a
        repeat after a crash still finds what is left. Each kind is looked for again when it is
        gone: an object that could not be read the first time was not recognised.
        """
        for to_go in (self._certificates_to_go, self._privates_to_go, self._publics_to_go):
            self._destroy(to_go(ref))
            if to_go(ref):
                raise CardFailure(Outcome.CARD_FAILED, "the card kept what was to be removed")

    def signing_key(self, ref: ObjectRef) -> tuple[bytes, CardKey]:
        """Return exactly the certificate that ``ref`` names, and the proven key beside it."""
        cka_id = bytes.fromhex(ref.cka_id)
        for _, der in certificates_under(self._session, cka_id):
            if sha256_of(der) == ref.certificate_sha256:
                return der, self._key_of(cka_id, x509.load_der_x509_certificate(der))
        raise CardFailure(Outcome.SIGNER_MISSING, "the certificate to sign with is not on the card")

    # Keys

    def _proven_key(self, cka_id: bytes) -> CardKey | None:
        for private in under(self._session, ObjectClass.PRIVATE_KEY, cka_id):
            for public in self._public_halves(cka_id, private):
                if (key := _proven(private, public)) is not None:
                    return key
        return None

    def _public_halves(self, cka_id: bytes, private: Item) -> list[PublicKey]:
        """Return every public key that might belong to ``private``; CKA_ID alone proves nothing."""
        halves = [public_key_of(private)]
        publics = under(self._session, ObjectClass.PUBLIC_KEY, cka_id)
        halves += [public_key_of(item) for item in publics]
        halves += [_public_key_in(der) for _, der in certificates_under(self._session, cka_id)]
        return list({spki_sha256(half): half for half in halves if half is not None}.values())

    def _remove_keys(self, cka_id: bytes, *, keep: CardKey | None) -> None:
        """Remove what an interrupted generation left under our own id, and nothing else."""
        privates = under(self._session, ObjectClass.PRIVATE_KEY, cka_id)
        publics = under(self._session, ObjectClass.PUBLIC_KEY, cka_id)
        if keep is not None:
            wanted = spki_sha256(keep.public_key())
            privates = [item for item in privates if item.handle != keep.handle]
            publics = [item for item in publics if not _has_spki(item, wanted)]
        self._destroy(privates + publics)

    def _generate(self, cka_id: bytes, key_type: KeyType, label: str) -> None:
        parts: dict[str, Any] = {
            "id": cka_id,
            "label": label,
            "store": True,
            "public_template": _PUBLIC,
            "private_template": _PRIVATE,
        }
        with named(), effect("helper.generate"):
            if key_type in _RSA_BITS:
                self._session.generate_keypair(TokenKeyType.RSA, _RSA_BITS[key_type], **parts)
                return
            curve = encode_named_curve_parameters(_CURVES[key_type])
            domain = self._session.create_domain_parameters(
                TokenKeyType.EC, {Attribute.EC_PARAMS: curve}, local=True
            )
            domain.generate_keypair(**parts)

    def _key_of(self, cka_id: bytes, certificate: x509.Certificate) -> CardKey:
        privates = under(self._session, ObjectClass.PRIVATE_KEY, cka_id)
        if not privates:
            raise CardFailure(Outcome.KEY_MISSING, "the certificate's key is not on the card")
        public = certificate.public_key()
        if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            for private in privates:
                if (key := _proven(private, public)) is not None:
                    return key
        raise CardFailure(
            Outcome.CERTIFICATE_MISMATCH, "the certificate is for another key than the card's"
        )

    def _private_keys_with(self, cka_id: bytes, spki: str) -> list[Item]:
        found = []
        for private in under(self._session, ObjectClass.PRIVATE_KEY, cka_id):
            if (own := public_key_of(private)) is not None:
                belongs = spki_sha256(own) == spki
            else:
                halves = self._public_halves(cka_id, private)
                belongs = any(spki_sha256(h) == spki and _proven(private, h) for h in halves)
            if belongs:
                found.append(private)
        return found

    # What must go

    def _certificates_to_go(self, ref: ObjectRef) -> list[Item]:
        stored = certificates_under(self._session, bytes.fromhex(ref.cka_id))
        if ref.certificate_sha256:
            return [item for item, der in stored if sha256_of(der) == ref.certificate_sha256]
        # A certificate that nobody knows of was written for this key: it must not outlive it.
        return [item for item, der in stored if _certifies(der, ref.spki_sha256)]

    def _privates_to_go(self, ref: ObjectRef) -> list[Item]:
        cka_id = bytes.fromhex(ref.cka_id)
        if ref.spki_sha256:
            return self._private_keys_with(cka_id, ref.spki_sha256)
        return (
            [] if self._is_certified(ref) else under(self._session, ObjectClass.PRIVATE_KEY, cka_id)
        )

    def _publics_to_go(self, ref: ObjectRef) -> list[Item]:
        publics = under(self._session, ObjectClass.PUBLIC_KEY, bytes.fromhex(ref.cka_id))
        if ref.spki_sha256:
            return [item for item in publics if _has_spki(item, ref.spki_sha256)]
        return [] if self._is_certified(ref) else publics

    def _is_certified(self, ref: ObjectRef) -> bool:
        """Tell whether a key goes by more than its id: else it is ours, and was never reported."""
        cka_id = bytes.fromhex(ref.cka_id)
        return bool(ref.certificate_sha256 or certificates_under(self._session, cka_id))

    # Objects

    def _create_certificate(self, cka_id: bytes, der: bytes, label: str) -> None:
        template = decode_x509_certificate(der)
        template |= {
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.ID: cka_id,
            Attribute.LABEL: label,
        }
        with named(), effect("helper.create_certificate"):
            self._session.create_object(template)

    def _destroy(self, items: list[Item]) -> None:
        for item in items:
            with named(), effect("helper.destroy"):
                item.destroy()


def _proven(private: Item, public: PublicKey) -> CardKey | None:
    kinds = {TokenKeyType.RSA: rsa.RSAPublicKey, TokenKeyType.EC: ec.EllipticCurvePublicKey}
    with named():
        if not isinstance(public, kinds.get(private.key_type, type(None))):
            return None
    key = card_key(private, public)
    return key if proves(key) else None


def _has_spki(item: Item, spki: str) -> bool:
    public = public_key_of(item)
    return public is not None and spki_sha256(public) == spki


def _certifies(der: bytes, spki: str) -> bool:
    public = _public_key_in(der)
    return public is not None and spki_sha256(public) == spki


def _public_key_in(der: bytes) -> PublicKey | None:
    try:
        public = x509.load_der_x509_certificate(der).public_key()
    except UNREADABLE:
        return None
    return public if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None
