"""Searching a card without trusting what is on it: torn and foreign objects are passed over.

Power loss leaves objects whose attributes cannot be read, and one of them ends python-pkcs11's own
search. Objects are therefore fetched one handle at a time, and always by class.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from pkcs11 import Attribute, ObjectClass, PKCS11Error, Session, _pkcs11

from agent.drivers.failures import named
from agent.drivers.keys import Item
from agent.drivers.modules import printable
from cardflow.x509.reading import UNREADABLE, tolerant

Template = Mapping[Attribute, object]
_search = _pkcs11.SearchIter  # type: ignore[attr-defined]


def search(session: Session, template: Template) -> tuple[list[Item], int]:
    """Return the objects that fit, and how many more there are that cannot be read."""
    found: list[Item] = []
    damaged = 0
    with named(), _search(session, template, 1) as batches:
        for batch in batches:
            try:
                found.extend(batch)
            except PKCS11Error:
                damaged += 1
    return found, damaged


def under(session: Session, kind: ObjectClass, cka_id: bytes) -> list[Item]:
    """Return the readable objects of one class that are filed under an id."""
    return search(session, {Attribute.CLASS: kind, Attribute.ID: cka_id, Attribute.TOKEN: True})[0]


def read(item: Item, attribute: Attribute) -> bytes:
    """Return an attribute's bytes; empty when the object does not give them."""
    try:
        value = item[attribute]
    except PKCS11Error:
        return b""
    return bytes(value) if isinstance(value, bytes | bytearray) else str(value).encode()


@dataclass(frozen=True)
class StoredCertificate:
    """A certificate object, its bytes, and what they parse to."""

    item: Item
    cka_id: bytes
    label: str
    der: bytes
    certificate: x509.Certificate


def stored_certificate(item: Item) -> StoredCertificate | None:
    """Return what a certificate object holds, unless it is torn or no X.509 certificate."""
    der = read(item, Attribute.VALUE)
    try:
        with tolerant():
            certificate = x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return None
    label = printable(read(item, Attribute.LABEL).decode("utf-8", errors="replace"))
    return StoredCertificate(item, read(item, Attribute.ID), label, der, certificate)


def certificates_under(session: Session, cka_id: bytes) -> list[tuple[Item, bytes]]:
    """Return the certificate objects filed under an id, with their bytes (empty when torn)."""
    items = under(session, ObjectClass.CERTIFICATE, cka_id)
    return [(item, read(item, Attribute.VALUE)) for item in items]
