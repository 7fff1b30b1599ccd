"""Third-party certificates that an update registered: watched for expiry, never touched."""

import json
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.tables import LONGEST_NAME, Card, Certificate
from cardflow.errors import Refused
from cardflow.jobs import FoundCertificate, Inventory
from cardflow.model import CertificateKind, UpdateInput
from cardflow.wire import from_json
from cardflow.x509 import CertificateFacts, facts_of_certificate


async def register(session: AsyncSession, card: Card, update: UpdateInput, at: datetime) -> None:
    """Leave the certificates that the plan names as tracked, as the card's inventory has them."""
    wanted = {ref.certificate_sha256 for ref in update.plan.registers}
    for found, facts in _readable(card.inventory):
        known = (facts.sha256, card.id)
        if facts.sha256 in wanted and not await session.get(Certificate, known):
            session.add(_tracked(card.id, update.update_id, found, facts, at))


def has_gone(inventory: str, sha256: str) -> bool:
    """Tell whether a card whose inventory (JSON) showed everything does not carry it any more."""
    if not inventory or not from_json(Inventory, json.loads(inventory)).logged_in:
        return False  # what only a login shows may still be there
    return sha256 not in {facts.sha256 for _, facts in _readable(inventory)}


def _readable(inventory: str) -> Iterator[tuple[FoundCertificate, CertificateFacts]]:
    if not inventory:
        return
    for found in from_json(Inventory, json.loads(inventory)).certificates:
        try:
            facts = facts_of_certificate(found.certificate_pem)
        except Refused:
            continue  # what cannot be read has no dates to watch
        if fits(found, facts):
            yield found, facts


def fits(found: FoundCertificate, facts: CertificateFacts) -> bool:
    """Tell whether the names that a card and a stranger's CA chose fit into the register."""
    return max(len(found.cka_id), len(facts.serial_number)) <= LONGEST_NAME


def _tracked(
    card_id: str, update_id: str, found: FoundCertificate, facts: CertificateFacts, at: datetime
) -> Certificate:
    return Certificate(
        sha256=facts.sha256,
        card_id=card_id,
        kind=CertificateKind.TRACKED,
        state="on_card",
        key_type=facts.key_type[:20],
        update_id=update_id,
        cka_id=found.cka_id,
        spki_sha256=facts.spki_sha256,
        serial_number=facts.serial_number,
        subject=facts.subject,
        issuer=facts.issuer,
        not_before=facts.not_before,
        not_after=facts.not_after,
        pem=found.certificate_pem,
        created_at=at,
    )
