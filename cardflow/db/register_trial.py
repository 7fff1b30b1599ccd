"""Queries for trying a policy on every card: cards in parts, and only the columns that count."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Card, Certificate, Person, PolicyVersion


@dataclass(frozen=True)
class KnownCertificate:
    """What the register says of a certificate that we had issued for a card."""

    sha256: str
    profile: str
    key_type: str
    state: str
    not_after: datetime


@dataclass(frozen=True)
class KnownCard:
    """A card with what its policy is measured against."""

    id: str
    token_serial: str
    state: str
    policy_name: str
    inventory: str
    holder_id: str | None
    holder_active: bool
    certificates: Sequence[KnownCertificate]


async def cards_under(session: AsyncSession, names: Collection[str]) -> dict[str, int]:
    """Return how many cards follow each of the policies."""
    query = (
        select(col(Card.policy_name), func.count())
        .where(col(Card.policy_name).in_(names))
        .group_by(col(Card.policy_name))
    )
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def card_ids(session: AsyncSession, policy_name: str | None) -> list[str]:
    """Return the ids of the cards that follow the policy; of all cards when none is named."""
    query = select(col(Card.id))
    if policy_name is not None:
        query = query.where(col(Card.policy_name) == policy_name)
    return sorted((await session.scalars(query)).all())


async def known_cards(session: AsyncSession, ids: Collection[str]) -> list[KnownCard]:
    """Return these cards with the certificates that we had issued for them."""
    query = (
        select(
            col(Card.id), col(Card.token_serial), col(Card.state), col(Card.policy_name),
            col(Card.inventory), col(Card.holder_id), col(Person.active),
        )
        .join(Person, col(Person.id) == col(Card.holder_id), isouter=True)
        .where(col(Card.id).in_(ids))
    )  # fmt: skip
    known = await _certificates(session, ids)
    return [
        KnownCard(*row[:6], holder_active=bool(row[6]), certificates=known.get(row[0], ()))
        for row in (await session.execute(query)).all()
    ]


async def _certificates(
    session: AsyncSession, card_ids: Collection[str]
) -> dict[str, list[KnownCertificate]]:
    query = select(
        col(Certificate.card_id), col(Certificate.sha256), col(Certificate.profile),
        col(Certificate.key_type), col(Certificate.state), col(Certificate.not_after),
    ).where(col(Certificate.card_id).in_(card_ids), col(Certificate.kind) == "managed")  # fmt: skip
    found: dict[str, list[KnownCertificate]] = defaultdict(list)
    for row in (await session.execute(query)).all():
        found[row[0]].append(KnownCertificate(*row[1:]))
    return found


async def documents_of_newest(session: AsyncSession, names: Collection[str]) -> dict[str, str]:
    """Return the text of each policy's newest version."""
    newest = (
        select(col(PolicyVersion.name), func.max(col(PolicyVersion.version)).label("version"))
        .where(col(PolicyVersion.name).in_(names))
        .group_by(col(PolicyVersion.name))
        .subquery()
    )
    same = (col(PolicyVersion.name) == newest.c.name) & (
        col(PolicyVersion.version) == newest.c.version
    )
    query = select(col(PolicyVersion.name), col(PolicyVersion.document)).join(newest, same)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}
