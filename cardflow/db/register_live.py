"""What tells that something has changed: small queries, asked a few times a second."""

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.register_agents import FRESH, list_agents, present_tokens
from cardflow.db.tables import Agent, AuditEntry, Card, Claim, Document, Presence, Update
from cardflow.decisions import utc_now

RECENT = timedelta(days=1)
MOST_AGENTS = 200


class Told(NamedTuple):
    """Of an audit entry, what says whom it concerns."""

    number: int
    update_id: str
    actor: str
    kind: str

    @property
    def is_of_a_sign_in(self) -> bool:
        """Whether somebody came or went, which changes nothing that others see."""
        return self.kind.startswith("sign")


class Concerned(NamedTuple):
    """Whose update it is, and of which card."""

    holder_id: str
    card_id: str


async def entries_after(session: AsyncSession, number: int, *, limit: int) -> list[Told]:
    """Return the audit entries that came after this one."""
    columns = [col(getattr(AuditEntry, name)) for name in Told._fields]
    query = select(*columns).where(col(AuditEntry.number) > number)
    rows = await session.execute(query.order_by(col(AuditEntry.number)).limit(limit))
    return [Told(*row) for row in rows.all()]


async def concerned(session: AsyncSession, update_ids: Collection[str]) -> list[Concerned]:
    """Return whom and which cards the updates concern."""
    if not update_ids:
        return []
    query = select(col(Update.holder_id), col(Update.card_id))
    rows = await session.execute(query.where(col(Update.id).in_(update_ids)))
    return [Concerned(*row) for row in rows.all()]


async def workstations_of(
    session: AsyncSession, people: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return which workstations of these people are heard of now, and which cards they see."""
    if not people:
        return {}
    query = (
        select(col(Agent.person_id), col(Agent.id), col(Agent.state), col(Presence.token_serial))
        .join(Presence, col(Presence.agent_id) == col(Agent.id), isouter=True)
        .where(col(Agent.person_id).in_(people), col(Agent.seen_at) > utc_now() - FRESH)
    )
    found = defaultdict(set)
    for person, *seen in (await session.execute(query)).all():
        found[person].add(" ".join(map(str, seen)))
    return {person: frozenset(seen) for person, seen in found.items()}


async def newest_entry(session: AsyncSession) -> int:
    """Return the number of the newest audit entry."""
    return await session.scalar(select(func.max(col(AuditEntry.number)))) or 0


async def newest_about_work(session: AsyncSession) -> int:
    """Return the number of the newest audit entry that can change a work list."""
    number = col(AuditEntry.number)
    about = or_(
        col(AuditEntry.update_id) != "", col(AuditEntry.kind).in_(("work_claimed", "work_released"))
    )
    return await session.scalar(select(number).where(about).order_by(number.desc()).limit(1)) or 0


async def claims_on(session: AsyncSession, update_id: str) -> tuple[str, ...]:
    """Return who has taken what of an update."""
    claims = select(Claim).where(col(Claim.update_id) == update_id)
    return tuple(sorted(f"{c.lane} {c.person_id} {c.until}" for c in await session.scalars(claims)))


async def connected_serials(session: AsyncSession, holder_id: str) -> tuple[str, ...]:
    """Return what the holder's workstations report now, with what can change about it."""
    present = await present_tokens(session, holder_id, now=utc_now())
    return tuple(sorted(f"{agent.id} {found.report}" for agent, found in present))


async def agents_of(session: AsyncSession, person_id: str) -> tuple[str, ...]:
    """Return the person's workstations, each with its state and whether it is heard of now."""
    agents = await list_agents(session, person_id=person_id, after="", limit=MOST_AGENTS)
    since = utc_now() - FRESH
    return tuple(f"{x.id} {x.state} {x.seen_at is not None and x.seen_at > since}" for x in agents)


async def agents_heard_of(session: AsyncSession) -> int:
    """Return how many agents are heard of now."""
    query = select(func.count()).where(col(Agent.seen_at) > utc_now() - FRESH)
    return await session.scalar(query) or 0


async def documents_on(session: AsyncSession, update_id: str) -> tuple[str, ...]:
    """Return the documents of an update, each with its state."""
    query = select(col(Document.id), col(Document.state)).where(
        col(Document.update_id) == update_id
    )
    return tuple(sorted(f"{id_} {state}" for id_, state in (await session.execute(query)).all()))


async def open_update(session: AsyncSession, card_id: str) -> tuple[str, ...]:
    """Return where the card's updates stand that are open."""
    query = select(col(Update.id), col(Update.events), col(Update.stage)).where(
        col(Update.card_id) == card_id, col(Update.ended_at).is_(None)
    )
    return tuple(" ".join(map(str, row)) for row in (await session.execute(query)).all())


async def cards_and_updates(session: AsyncSession, holder_id: str) -> tuple[str, ...]:
    """Return the holder's cards and how far their newest updates are."""
    cards = select(col(Card.id), col(Card.state), col(Card.update_due)).where(
        col(Card.holder_id) == holder_id
    )
    updates = select(col(Update.id), col(Update.events), col(Update.stage)).where(
        col(Update.holder_id) == holder_id, col(Update.opened_at) > utc_now() - RECENT
    )
    found = [*(await session.execute(cards)).all(), *(await session.execute(updates)).all()]
    return tuple(sorted(" ".join(map(str, row)) for row in found))
