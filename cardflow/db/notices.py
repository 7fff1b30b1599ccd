"""Mails about something that was done to a person's account, beside any update.

Whoever gets one and asked for nothing knows that somebody else did.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.mail_queue import letter_to, mail_id, mail_to
from cardflow.db.tables import Mail, Person
from cardflow.mail.letters import CODES_RESET, Letter
from cardflow.model import new_id

PATHS = {CODES_RESET: "/account"}


async def queue_notices(
    session: AsyncSession, kind: str, people: Iterable[Person], *, now: datetime, domain: str
) -> list[str]:
    """Leave a mail to each of the people who has an address; return the mails' ids."""
    about = new_id()
    mails = [
        mail_to(person, mail_id(f"{kind}/{about}/{person.id}"), kind, now=now, domain=domain)
        for person in people
        if person.email
    ]
    session.add_all(mails)
    return [mail.id for mail in mails]


async def letter(_session: AsyncSession, mail: Mail, person: Person) -> Letter:
    """Return what the person is told."""
    told = letter_to(mail, person, PATHS[mail.kind])
    return replace(told, holder_id=person.id, holder_name=person.name)
