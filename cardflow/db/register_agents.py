"""Queries about card agents: enrolment, what they report, and which of them reaches a card now."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Update, delete, inspect, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Agent, AgentNonce, Card, EnrolmentCode, Person, Presence
from cardflow.sql import alone_with, insert_once

FRESH = timedelta(seconds=30)  # an agent not heard of for longer is not at its card any more
TOUCH_EVERY = timedelta(seconds=5)
NONCES_KEPT = timedelta(minutes=5)  # longer than a signature lives, skew of both clocks included


# Enrolment


async def find_code(session: AsyncSession, code_id: str) -> EnrolmentCode | None:
    """Return the code, which nobody else can use until this transaction ends."""
    return await session.get(EnrolmentCode, code_id, with_for_update=True)


async def agent_with_key(session: AsyncSession, public_key: str) -> Agent | None:
    """Return the agent that enrolled with this device key."""
    query = select(Agent).where(col(Agent.public_key) == public_key)
    return (await session.scalars(query)).one_or_none()


# Agents


async def find_agent(session: AsyncSession, agent_id: str) -> Agent | None:
    """Return the agent."""
    return await session.get(Agent, agent_id)


async def holder_name(session: AsyncSession, card_id: str) -> str:
    """Return the name of whose card it is; empty when it is nobody's."""
    holder = select(col(Person.name)).join(Card, col(Card.holder_id) == col(Person.id))
    return await session.scalar(holder.where(col(Card.id) == card_id)) or ""


async def list_agents(
    session: AsyncSession, *, person_id: str, after: str, limit: int, state: str = ""
) -> list[Agent]:
    """Return agents in the order they enrolled; an empty ``person_id`` or ``state`` means any."""
    query = select(Agent).where(col(Agent.id) > after).order_by(col(Agent.id)).limit(limit)
    if person_id:
        query = query.where(col(Agent.person_id) == person_id)
    if state:
        query = query.where(col(Agent.state) == state)
    return list((await session.scalars(query)).all())


async def not_confirmed(session: AsyncSession, agent_ids: Collection[str]) -> set[str]:
    """Return those of the agents that may not work any more, or whose people may not."""
    query = (
        select(col(Agent.id))
        .join(Person, col(Person.id) == col(Agent.person_id))
        .where(
            col(Agent.id).in_(agent_ids),
            col(Agent.state) == "confirmed",
            col(Person.active).is_(True),
        )
    )
    return set(agent_ids) - set((await session.scalars(query)).all())


async def spend_nonce(session: AsyncSession, agent_id: str, nonce: str, *, now: datetime) -> bool:
    """Leave the nonce as used; False when it was used before."""
    row = {"agent_id": agent_id, "nonce": nonce, "seen_at": now}
    statement = insert_once(session, inspect(AgentNonce).local_table)
    done = await session.execute(statement.returning(col(AgentNonce.nonce)), row)
    return done.first() is not None


async def forget_nonces(session: AsyncSession, agent_id: str, *, now: datetime) -> None:
    """Remove the agent's nonces whose signatures have expired."""
    old = col(AgentNonce.seen_at) < now - NONCES_KEPT
    await session.execute(delete(AgentNonce).where(col(AgentNonce.agent_id) == agent_id, old))


def touch(agent: Agent, *, now: datetime, version: str = "") -> None:
    """Leave the agent as heard of now, in this version, unless it was moments ago."""
    seen = agent.seen_at is not None and now - agent.seen_at < TOUCH_EVERY
    if not seen or version not in ("", agent.version):
        agent.seen_at, agent.version = now, version or agent.version


# Presence


@dataclass(frozen=True)
class Reported:
    """One token as an agent reports it: its JSON, and its inventory's for the card's record."""

    token_serial: str
    token_label: str
    report: str
    inventory: str


async def replace_presence(
    session: AsyncSession, agent: Agent, tokens: Collection[Reported], *, now: datetime
) -> None:
    """Leave exactly these tokens as what the agent sees, and its person's cards as seen now."""
    # Of two reports at the same moment the second one waits: else both would bring the same rows.
    await alone_with(session, f"presence/{agent.id}")
    await session.execute(delete(Presence).where(col(Presence.agent_id) == agent.id))
    for token in tokens:
        session.add(
            Presence(
                agent_id=agent.id, token_serial=token.token_serial, report=token.report, seen_at=now
            )
        )
        await session.execute(_seen(agent, token, now))
    await session.flush()


def _seen(agent: Agent, token: Reported, now: datetime) -> Update:
    """An agent speaks for its person's cards and for cards that are nobody's, for no others."""
    seen = {"token_label": token.token_label[:64], "seen_at": now}
    if token.inventory:
        seen["inventory"] = token.inventory
    holder = col(Card.holder_id)
    speaks_for = or_(holder == agent.person_id, holder.is_(None))
    return (
        update(Card).where(col(Card.token_serial) == token.token_serial, speaks_for).values(**seen)
    )


async def forget_presence(session: AsyncSession, agent_id: str) -> None:
    """Remove everything that the agent reported."""
    await session.execute(delete(Presence).where(col(Presence.agent_id) == agent_id))


async def present_tokens(
    session: AsyncSession, person_id: str, *, now: datetime
) -> list[tuple[Agent, Presence]]:
    """Return what the person's confirmed agents see now, the agent heard of last first."""
    query = (
        select(Agent, Presence)
        .join(Presence, col(Presence.agent_id) == col(Agent.id))
        .where(
            col(Agent.person_id) == person_id,
            col(Agent.state) == "confirmed",
            col(Agent.seen_at) > now - FRESH,
        )
        .order_by(col(Agent.seen_at).desc())
    )
    return [(agent, presence) for agent, presence in (await session.execute(query)).all()]
