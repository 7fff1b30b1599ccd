"""Counts for whoever looks after the installation, and how far a new one is."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Agent, Card, Mail, Person, PolicyVersion, Update


async def updates_by_stage(session: AsyncSession) -> dict[str, int]:
    """Return how many updates stand at each stage."""
    return await _counted(session, col(Update.stage))


async def cards_by_state(session: AsyncSession) -> dict[str, int]:
    """Return how many cards are in each state."""
    return await _counted(session, col(Card.state))


async def mails_by_state(session: AsyncSession, *, since: datetime) -> dict[str, int]:
    """Return how many of the mails since then are sent, wait or failed."""
    return await _counted(session, col(Mail.state), col(Mail.created_at) > since)


async def anybody(session: AsyncSession) -> bool:
    """Tell whether anybody is registered."""
    return await _number(session, select(col(Person.id)).limit(1)) > 0


async def others(session: AsyncSession) -> bool:
    """Tell whether there is anybody beside the first administrator."""
    return await _number(session, select(col(Person.id)).limit(2)) > 1


async def any_policy(session: AsyncSession) -> bool:
    """Tell whether there is a policy."""
    return await _number(session, select(col(PolicyVersion.name)).limit(1)) > 0


async def any_card(session: AsyncSession) -> bool:
    """Tell whether a card is registered that somebody holds under a policy."""
    ready = select(col(Card.id)).where(
        col(Card.holder_id).is_not(None), col(Card.policy_name) != ""
    )
    return await _number(session, ready.limit(1)) > 0


async def any_agent(session: AsyncSession) -> bool:
    """Tell whether a workstation is confirmed."""
    confirmed = select(col(Agent.id)).where(col(Agent.state) == "confirmed")
    return await _number(session, confirmed.limit(1)) > 0


async def _counted(session: AsyncSession, column: Any, *which: Any) -> dict[str, int]:
    query = select(column, func.count()).where(*which).group_by(column)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def _number(session: AsyncSession, query: Any) -> int:
    return len((await session.scalars(query)).all())
