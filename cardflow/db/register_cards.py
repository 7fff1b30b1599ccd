"""Queries about the register of cards."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Card, Certificate, Person, PolicyVersion


async def find_card(session: AsyncSession, card_id: str) -> Card | None:
    """Return the card."""
    return await session.get(Card, card_id)


async def find_to_change(session: AsyncSession, card_id: str) -> Card | None:
    """Return the card as it is now; nobody else changes it until this transaction ends."""
    return (await cards_to_change(session, [card_id])).get(card_id)


async def cards_to_change(session: AsyncSession, card_ids: Collection[str]) -> dict[str, Card]:
    """Return the cards as they are now; nobody else changes them until this transaction ends."""
    query = select(Card).where(col(Card.id).in_(card_ids)).order_by(col(Card.id))
    # As an UPDATE locks: rows of other tables that name the card are written meanwhile.
    alone = query.with_for_update(key_share=True)
    fresh = alone.execution_options(populate_existing=True)  # also what was read before the wait
    return {card.id: card for card in (await session.scalars(fresh)).all()}


async def card_with_serial(session: AsyncSession, token_serial: str) -> Card | None:
    """Return the card that calls itself by this serial."""
    query = select(Card).where(col(Card.token_serial) == token_serial)
    return (await session.scalars(query)).one_or_none()


async def cards_with_serials(
    session: AsyncSession, token_serials: Collection[str]
) -> dict[str, Card]:
    """Return the cards that call themselves by these serials; others are left out."""
    query = select(Card).where(col(Card.token_serial).in_(token_serials))
    return {card.token_serial: card for card in (await session.scalars(query)).all()}


async def list_cards(
    session: AsyncSession,
    *,
    after: str,
    limit: int,
    holder_id: str = "",
    state: str = "",
    policy_name: str = "",
    ending_by: Mapping[str, datetime] | None = None,
    search: str = "",
) -> list[Card]:
    """Return cards in the order they were registered.

    With ``ending_by`` only those whose update is due: for a reason that stands in the register, or
    because a certificate ends before the instant that is given for the card's policy.
    """
    query = select(Card).where(col(Card.id) > after).order_by(col(Card.id)).limit(limit)
    if holder_id:
        query = query.where(col(Card.holder_id) == holder_id)
    if state:
        query = query.where(col(Card.state) == state)
    if policy_name:
        query = query.where(col(Card.policy_name) == policy_name)
    if ending_by is not None:
        query = query.where(_is_due(ending_by))
    if search:
        query = query.where(_about(search))
    return list((await session.scalars(query)).all())


def _about(search: str) -> ColumnElement[bool]:
    holders = select(col(Person.id)).where(_has(search, Person.name, Person.login))
    return or_(_has(search, Card.token_serial, Card.token_label), col(Card.holder_id).in_(holders))


def _has(search: str, *columns: str) -> ColumnElement[bool]:
    return or_(*(col(column).icontains(search, autoescape=True) for column in columns))


def _is_due(ending_by: Mapping[str, datetime]) -> ColumnElement[bool]:
    ends_early = [
        and_(col(Card.policy_name) == name, col(Certificate.not_after) <= instant)
        for name, instant in ending_by.items()
    ]
    # Worked out once and not for each card: certificates that end soon are few.
    ending = (
        select(col(Certificate.card_id))
        .join(Card, col(Card.id) == col(Certificate.card_id))
        .where(
            col(Certificate.kind) == "managed",
            col(Certificate.state) == "on_card",
            or_(false(), *ends_early),
        )
    )
    return or_(col(Card.update_due) != "", col(Card.id).in_(ending))


async def those_carrying(session: AsyncSession, card_ids: Collection[str]) -> set[str]:
    """Return those of the cards that certificates which we had issued are on."""
    query = select(col(Certificate.card_id)).where(
        col(Certificate.card_id).in_(card_ids),
        col(Certificate.kind) == "managed",
        col(Certificate.state) == "on_card",
    )
    return set((await session.scalars(query)).all())


async def known_policies(session: AsyncSession, names: Collection[str]) -> set[str]:
    """Return those of the names that a policy has."""
    query = select(col(PolicyVersion.name)).where(col(PolicyVersion.name).in_(names)).distinct()
    return set((await session.scalars(query)).all())


async def carries_certificates(session: AsyncSession, card_id: str) -> bool:
    """Tell whether certificates that we had issued are on the card."""
    query = select(col(Certificate.sha256)).where(
        col(Certificate.card_id) == card_id,
        col(Certificate.kind) == "managed",
        col(Certificate.state) == "on_card",
    )
    return (await session.scalars(query.limit(1))).first() is not None


async def unrevoked_on(session: AsyncSession, card_id: str, *, now: datetime) -> list[str]:
    """Return the serial numbers of what we had issued for the card and what is good still."""
    query = select(col(Certificate.serial_number)).where(
        col(Certificate.card_id) == card_id,
        col(Certificate.kind) == "managed",
        col(Certificate.state) != "revoked",
        col(Certificate.not_after) > now,
    )
    return sorted(set((await session.scalars(query)).all()))


async def policy_exists(session: AsyncSession, name: str) -> bool:
    """Tell whether there is a policy of this name."""
    query = select(col(PolicyVersion.name)).where(col(PolicyVersion.name) == name).limit(1)
    return (await session.scalars(query)).first() is not None
