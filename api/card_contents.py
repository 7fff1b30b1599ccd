"""What is on a card, as its last inventory and the register together tell it; pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cardflow.db.register_trial import KnownCard, KnownCertificate
from cardflow.db.tables import Card, Certificate
from cardflow.db.tracking import fits
from cardflow.errors import Refused
from cardflow.jobs import FoundCertificate, FoundKey, Inventory
from cardflow.model import CertificateKind, CertificateOnCard, ObjectRef
from cardflow.wire import from_json
from cardflow.x509 import CertificateFacts, facts_of_certificate, sha256_of


@dataclass(frozen=True)
class Contents:
    """The certificates and keys on a card, and what should be there and was not seen."""

    certificates: tuple[CertificateOnCard, ...]
    missing: tuple[CertificateOnCard, ...] = ()
    bare_keys: tuple[FoundKey, ...] = ()
    unreadable: int = 0


@dataclass(frozen=True)
class _Found:
    """A certificate object, read, and whose it is."""

    object: FoundCertificate
    facts: CertificateFacts
    known: Certificate | None

    @property
    def kind(self) -> CertificateKind:
        return CertificateKind(self.known.kind) if self.known else CertificateKind.THIRD_PARTY


def contents_of(card: Card, known: Mapping[str, Certificate]) -> Contents:
    """Return what the card holds; before its first inventory, what the register says of it."""
    recorded = [row for row in known.values() if row.state == "on_card"]
    if not card.inventory:
        return Contents(certificates=tuple(_recorded(row, set()) for row in recorded))
    inventory = from_json(Inventory, json.loads(card.inventory))
    found, unreadable = _read(inventory, known)
    seen, not_ours = {one.facts.sha256 for one in found}, _keys_of_others(found)
    return Contents(
        certificates=tuple(_on_card(one, not_ours) for one in found),
        missing=tuple(_recorded(row, not_ours) for row in recorded if row.sha256 not in seen),
        bare_keys=_bare_keys(inventory.keys, found),
        unreadable=unreadable + inventory.damaged,
    )


def managed_on(card: KnownCard) -> tuple[CertificateOnCard, ...]:
    """Return what ``contents_of`` says of certificates that are ours, without reading any of them.

    For looking at a hundred thousand cards: the register knows everything that a policy asks about.
    """
    if not card.inventory:
        return tuple(_ours(known) for known in card.certificates if known.state == "on_card")
    known = {one.sha256: one for one in card.certificates}
    digests = (_digest(found) for found in json.loads(card.inventory).get("certificates", ()))
    return tuple(_ours(known[digest]) for digest in digests if digest in known)


def _digest(found: dict[str, Any]) -> str:
    body = found["certificate_pem"].partition("-----BEGIN CERTIFICATE-----")[2]
    try:
        return sha256_of(base64.b64decode(body.partition("-----END")[0]))
    except ValueError:
        return ""


def _ours(known: KnownCertificate) -> CertificateOnCard:
    return CertificateOnCard(
        ref=ObjectRef("", known.sha256),
        kind=CertificateKind.MANAGED,
        subject="",
        issuer="",
        serial_number="",
        not_before=known.not_after,
        not_after=known.not_after,
        has_key=True,
        profile=known.profile,
        key_type=known.key_type,
        revoked=known.state == "revoked",
    )


def _read(inventory: Inventory, known: Mapping[str, Certificate]) -> tuple[list[_Found], int]:
    found, unreadable = [], 0
    for one in inventory.certificates:
        try:
            facts = facts_of_certificate(one.certificate_pem)
        except Refused:
            unreadable += 1
            continue
        if not fits(one, facts):  # it could be neither registered nor owed
            unreadable += 1
            continue
        found.append(_Found(one, facts, known.get(facts.sha256)))
    return found, unreadable


def _keys_of_others(found: Sequence[_Found]) -> set[str]:
    """A key that somebody else's certificate on this card needs too is never named for removal."""
    return {one.facts.spki_sha256 for one in found if one.kind is not CertificateKind.MANAGED}


def _on_card(one: _Found, not_ours: set[str]) -> CertificateOnCard:
    facts, known, has_key = one.facts, one.known, one.object.has_key is not False
    names_key = has_key and (one.kind is not CertificateKind.MANAGED or
                             facts.spki_sha256 not in not_ours)  # fmt: skip
    spki = facts.spki_sha256 if names_key else ""
    return CertificateOnCard(
        ref=ObjectRef(one.object.cka_id, facts.sha256, spki),
        kind=one.kind,
        subject=facts.subject,
        issuer=facts.issuer,
        serial_number=facts.serial_number,
        not_before=facts.not_before,
        not_after=facts.not_after,
        has_key=has_key,
        profile=known.profile if known else "",
        key_type=facts.key_type,
        revoked=known is not None and known.state == "revoked",
    )


def _recorded(row: Certificate, not_ours: set[str]) -> CertificateOnCard:
    spki = "" if row.spki_sha256 in not_ours else row.spki_sha256
    return CertificateOnCard(
        ref=ObjectRef(row.cka_id, row.sha256, spki),
        kind=CertificateKind(row.kind),
        subject=row.subject,
        issuer=row.issuer,
        serial_number=row.serial_number,
        not_before=row.not_before,
        not_after=row.not_after,
        has_key=True,
        profile=row.profile,
        key_type=row.key_type,
    )


def _bare_keys(keys: Sequence[FoundKey], found: Sequence[_Found]) -> tuple[FoundKey, ...]:
    certified = {one.facts.spki_sha256 for one in found}
    named = {one.object.cka_id for one in found}
    bare = {
        key.cka_id: key
        for key in keys
        if key.spki_sha256 not in certified and (key.spki_sha256 or key.cka_id not in named)
    }
    return tuple(bare.values())
