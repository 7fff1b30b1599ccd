"""Mails about a new workstation: to whose it is, and to every administrator.

Whoever gets one and enrolled nothing knows that somebody else did.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import String, and_, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.mail_queue import letter_to, mail_id, mail_to
from cardflow.db.tables import Agent, Mail, Person
from cardflow.mail.letters import NEW_AGENT, Letter
from cardflow.model import Role


async def queue_new_agent(
    session: AsyncSession, agent: Agent, *, now: datetime, domain: str
) -> list[str]:
    """Leave a mail to the holder and to each administrator; return the mails' ids."""
    is_admin = cast(col(Person.roles), String).like(f'%"{Role.ADMIN}"%')
    # An account of the house need not have an address; a holder without one is a fault to be seen.
    can_be_told = and_(is_admin, col(Person.email) != "")
    concerned = select(Person).where(
        col(Person.active).is_(True), or_(col(Person.id) == agent.person_id, can_be_told)
    )
    mails = [_mail(agent, person, now, domain) for person in await session.scalars(concerned)]
    session.add_all(mails)
    return [mail.id for mail in mails]


def _mail(agent: Agent, person: Person, now: datetime, domain: str) -> Mail:
    key = mail_id(f"{NEW_AGENT}/{agent.id}/{person.id}")
    mail = mail_to(person, key, NEW_AGENT, now=now, domain=domain)
    mail.agent_id = agent.id
    return mail


async def letter(session: AsyncSession, mail: Mail, person: Person) -> Letter | None:
    """Return what is told of the workstation; nothing when it is not known any more."""
    agent = await session.get(Agent, mail.agent_id)
    holder = await session.get(Person, agent.person_id) if agent else None
    if agent is None or holder is None:
        return None
    return replace(
        letter_to(mail, person, "/account" if person.id == holder.id else "/agents"),
        holder_id=holder.id,
        holder_name=holder.name,
        facts={"host": agent.host, "system": agent.system},
    )
