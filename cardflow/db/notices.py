"""Mails about something that was done to a person's account or card, beside any update.

Whoever gets one and asked for nothing knows that somebody else did.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.mail_queue import letter_to, mail_id, mail_to
from cardflow.db.tables import Card, Mail, Person
from cardflow.mail.letters import CARD_LOST, CODES_RESET, Letter
from cardflow.model import new_id


async def queue_notices(
    session: AsyncSession,
    kind: str,
    people: Iterable[Person],
    *,
    now: datetime,
    domain: str,
    card_id: str = "",
) -> list[str]:
    """Leave a mail to each of the people who has an address; return the mails' ids."""
    about = new_id()
    mails = [
        mail_to(person, mail_id(f"{kind}/{about}/{person.id}"), kind, now=now, domain=domain)
        for person in people
        if person.email
    ]
    for mail in mails:
        mail.card_id = card_id
    session.add_all(mails)
    return [mail.id for mail in mails]


async def letter(session: AsyncSession, mail: Mail, person: Person) -> Letter | None:
    """Return what the person is told."""
    return await ABOUT[mail.kind](session, mail, person)


async def _codes(_session: AsyncSession, mail: Mail, person: Person) -> Letter:
    told = letter_to(mail, person, "/account")
    return replace(told, holder_id=person.id, holder_name=person.name)


async def _lost(session: AsyncSession, mail: Mail, person: Person) -> Letter | None:
    card = await session.get(Card, mail.card_id)
    if card is None:
        return None
    holder = await session.get(Person, card.holder_id) if card.holder_id else None
    by = await session.get(Person, card.lost_by) if card.lost_by else None
    return replace(
        letter_to(mail, person, f"/cards/{card.id}"),
        holder_id=holder.id if holder else "",
        holder_name=holder.name if holder else "",
        card=card.token_label.strip() or card.token_serial,
        facts={"by": by.name if by else "", "reason": card.lost_because},
    )


ABOUT: dict[str, Callable[[AsyncSession, Mail, Person], Awaitable[Letter | None]]] = {
    CODES_RESET: _codes,
    CARD_LOST: _lost,
}
