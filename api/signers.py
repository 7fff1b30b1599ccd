"""Which certificate on a card signs for its holder; chosen here and never at the workstation."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from api.card_contents import contents_of
from api.state import State
from cardflow.db.register_cards import find_card
from cardflow.db.register_updates import certificates_of
from cardflow.decisions import utc_now
from cardflow.model import CertificateKind, CertificateOnCard, Profile, Purpose

FOR_DOCUMENTS, FOR_SIGNING = "contentCommitment", "digitalSignature"  # RFC 5280 4.2.1.3


async def signer_on_card(
    state: State, session: AsyncSession, card_id: str
) -> CertificateOnCard | None:
    """Return the certificate on the card that signs for its holder, if there is one."""
    card = await find_card(session, card_id)
    if card is None:
        return None
    contents = contents_of(card, await certificates_of(session, card.id))
    return best_signer(contents.certificates, state.profiles, utc_now())


def best_signer(
    on_card: Sequence[CertificateOnCard], profiles: Mapping[str, Profile], now: datetime
) -> CertificateOnCard | None:
    """Return the managed certificate that is best for signing; never one of third parties."""
    usable = [c for c in on_card if _signs(c, profiles.get(c.profile), now)]

    def fitness(certificate: CertificateOnCard) -> tuple[bool, bool, datetime]:
        profile = profiles[certificate.profile]
        is_for_documents = FOR_DOCUMENTS in profile.key_usage
        return is_for_documents, profile.purpose is Purpose.SIGNATURE, certificate.not_after

    return max(usable, key=fitness, default=None)


def _signs(certificate: CertificateOnCard, profile: Profile | None, now: datetime) -> bool:
    return (
        certificate.kind is CertificateKind.MANAGED
        and certificate.has_key
        and not certificate.revoked
        and certificate.not_before <= now < certificate.not_after
        and profile is not None
        and profile.purpose is not Purpose.ENCRYPTION
        and bool({FOR_DOCUMENTS, FOR_SIGNING} & set(profile.key_usage))
    )
