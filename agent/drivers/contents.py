"""What is on a card, as far as the session may see it; nothing is changed and nothing is proven."""

from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, CertificateType, ObjectClass, Session

from agent.drivers.keys import Item, public_key_of
from agent.drivers.objects import StoredCertificate, read, search, stored_certificate
from cardflow.jobs import FoundCertificate, FoundKey, Inventory
from cardflow.x509 import spki_sha256


def inventory(session: Session, *, logged_in: bool) -> Inventory:
    """Return the certificates and keys on the card; what cannot be read is counted, not touched."""
    keys, torn_keys = _keys(session)
    stored, torn_certificates = _certificates(session)
    return Inventory(
        logged_in=logged_in,
        certificates=tuple(_found(each, keys, logged_in=logged_in) for each in stored),
        keys=keys,
        damaged=torn_keys + torn_certificates + _without_class(session),
    )


def _keys(session: Session) -> tuple[tuple[FoundKey, ...], int]:
    found: list[FoundKey] = []
    torn = 0
    for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
        items, unreadable = search(session, {Attribute.CLASS: kind})
        keys = [_found_key(item, private=kind is ObjectClass.PRIVATE_KEY) for item in items]
        found += [key for key in keys if key.cka_id or key.spki_sha256]
        torn += unreadable + sum(not (key.cka_id or key.spki_sha256) for key in keys)
    return tuple(found), torn


def _found_key(item: Item, *, private: bool) -> FoundKey:
    public = public_key_of(item)
    spki = "" if public is None else spki_sha256(public)
    return FoundKey(read(item, Attribute.ID).hex(), spki, private)


def _certificates(session: Session) -> tuple[list[StoredCertificate], int]:
    wanted = {
        Attribute.CLASS: ObjectClass.CERTIFICATE,
        Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
        Attribute.TOKEN: True,  # ykcs11 shows attestation certificates that are not on the card
    }
    items, unreadable = search(session, wanted)
    stored = [stored_certificate(item) for item in items]
    readable = [each for each in stored if each is not None]
    return readable, unreadable + len(stored) - len(readable)


def _found(
    stored: StoredCertificate, keys: tuple[FoundKey, ...], *, logged_in: bool
) -> FoundCertificate:
    spki = spki_sha256(stored.certificate)
    cka_id = stored.cka_id.hex()
    has_key = any(
        key.private
        and (key.spki_sha256 or spki if key.cka_id == cka_id else key.spki_sha256) == spki
        for key in keys
    )
    return FoundCertificate(
        cka_id=cka_id,
        label=stored.label,
        certificate_pem=stored.certificate.public_bytes(Encoding.PEM).decode(),
        has_key=True if has_key else (False if logged_in else None),
    )


def _without_class(session: Session) -> int:
    """Count objects so torn that no search by class finds them."""
    return search(session, {})[1]
