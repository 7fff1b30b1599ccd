"""Counts for whoever looks after the installation, and how far a new one is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Agent, Card, Mail, Person, PolicyVersion, Update, WaitingFor
from cardflow.lifecycle import CHECKS, ENDED
from cardflow.model import Party, Stage


@dataclass(frozen=True)
class Pile:
    """How many of something there are, and since when the oldest."""

    number: int = 0
    since: datetime | None = None


async def updates_by_stage(session: AsyncSession) -> dict[str, int]:
    """Return how many updates stand at each stage."""
    return await _counted(session, col(Update.stage))


async def cards_by_state(session: AsyncSession) -> dict[str, int]:
    """Return how many cards are in each state."""
    return await _counted(session, col(Card.state))


async def mails_by_state(session: AsyncSession, *, since: datetime) -> dict[str, int]:
    """Return how many of the mails since then are sent, wait or failed."""
    return await _counted(session, col(Mail.state), col(Mail.created_at) > since)


async def open_updates_by_stage(session: AsyncSession) -> dict[str, Pile]:
    """Return how many updates are open, by each stage that an open one can be at."""
    stages = [stage for stage in Stage if stage not in ENDED]
    stage = col(Update.stage)
    return await _piles(session, stage, col(Update.opened_at), stages, stage.in_(stages))


async def waiting_by_party(session: AsyncSession) -> dict[str, Pile]:
    """Return how much work waits for each party."""
    return await _piles(session, col(WaitingFor.party), col(WaitingFor.since), Party)


async def checks_waiting(session: AsyncSession) -> Pile:
    """Return how many forms wait to be checked; forms that are in the post are not among them."""
    checks = col(WaitingFor.party) == Party.OPERATOR, col(WaitingFor.what).in_(CHECKS)
    party, since = col(WaitingFor.party), col(WaitingFor.since)
    return (await _piles(session, party, since, [Party.OPERATOR], *checks))[Party.OPERATOR]


async def overdue_by_party(session: AsyncSession, now: datetime) -> dict[str, int]:
    """Return how much work waits for each party beyond its time."""
    return await _counted(session, col(WaitingFor.party), col(WaitingFor.until) < now)


async def mails_queued(session: AsyncSession) -> Pile:
    """Return how many mails wait to be sent."""
    queued = await _piles(
        session, col(Mail.state), col(Mail.created_at), ["queued"], col(Mail.state) == "queued"
    )
    return queued["queued"]


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


async def _piles(
    session: AsyncSession, column: Any, since: Any, names: Iterable[str], *which: Any
) -> dict[str, Pile]:
    query = select(column, func.count(), func.min(since)).where(*which).group_by(column)
    found = {row[0]: Pile(row[1], row[2]) for row in (await session.execute(query)).all()}
    return {str(name): found.get(name, Pile()) for name in names}


async def _counted(session: AsyncSession, column: Any, *which: Any) -> dict[str, int]:
    query = select(column, func.count()).where(*which).group_by(column)
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def _number(session: AsyncSession, query: Any) -> int:
    return len((await session.scalars(query)).all())
