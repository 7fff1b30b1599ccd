"""Queries about signing in without a password: accounts at a provider, certificates on cards."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.ca.tables import CaCertificate
from cardflow.db.tables import Card, Certificate, Identity, Person, Session, SpentToken
from cardflow.model import CardState
from cardflow.sql import insert_once

CLOSED = frozenset({CardState.DISABLED, CardState.REVOKED})


@dataclass(frozen=True)
class Account:
    """An account at an OpenID provider: the only two claims that name it for ever."""

    issuer: str
    subject: str


async def person_of(session: AsyncSession, account: Account) -> Person | None:
    """Return the person whom this account is tied to."""
    identity = await session.get(Identity, (account.issuer, account.subject))
    return await session.get(Person, identity.person_id) if identity else None


async def identity_of(session: AsyncSession, person_id: str, issuer: str) -> Identity | None:
    """Return the account of a person at a provider."""
    mine = (col(Identity.person_id) == person_id, col(Identity.issuer) == issuer)
    return (await session.scalars(select(Identity).where(*mine))).one_or_none()


async def people_with(session: AsyncSession, field: str, value: str) -> list[Person]:
    """Return the people, two at most, of whom ``field`` is this value."""
    query = select(Person).where(getattr(Person, field) == value).limit(2)
    return list((await session.scalars(query)).all())


async def bind(session: AsyncSession, account: Account, person_id: str, now: datetime) -> None:
    """Leave the account tied to the person; whoever else has either makes it fail."""
    row = Identity(
        issuer=account.issuer, subject=account.subject, person_id=person_id, bound_at=now
    )
    session.add(row)
    await session.flush()


async def release(session: AsyncSession, person_id: str, issuer: str) -> bool:
    """Leave the person without an account at the provider; False when there was none."""
    mine = (col(Identity.person_id) == person_id, col(Identity.issuer) == issuer)
    gone = await session.execute(delete(Identity).where(*mine).returning(col(Identity.subject)))
    return gone.first() is not None


async def close_provider_sessions(
    session: AsyncSession, issuer: str, *, subject: str = "", provider_session: str = ""
) -> list[str]:
    """End the sign-ins that the provider says are over; return whose they were.

    OpenID Connect Back-Channel Logout 1.0, 2.7: one session by its ``sid``, else all of a subject.
    """
    over = [col(Session.way) == "provider"]
    if provider_session:
        over.append(col(Session.provider_session) == provider_session)
    if subject:
        mine = (col(Identity.issuer) == issuer, col(Identity.subject) == subject)
        over.append(col(Session.person_id).in_(select(col(Identity.person_id)).where(*mine)))
    gone = delete(Session).where(*over).returning(col(Session.person_id))
    return list((await session.scalars(gone)).all())


async def close_provider_sessions_of(session: AsyncSession, person_id: str) -> None:
    """End the sign-ins that a provider opened for a person."""
    mine = (col(Session.person_id) == person_id, col(Session.way) == "provider")
    await session.execute(delete(Session).where(*mine))


async def spend(session: AsyncSession, sha256: str, *, until: datetime) -> bool:
    """Leave something that counts once as used; False when it was used before."""
    row = insert_once(session, SpentToken).values(sha256=sha256, until=until)
    return (await session.execute(row.returning(col(SpentToken.sha256)))).first() is not None


async def owner_of(session: AsyncSession, certificate_sha256: str) -> Person | str:
    """Return whom a certificate on a card signs in, or why it signs nobody in."""
    query = (
        select(Certificate, Card)
        .join(Card, col(Card.id) == col(Certificate.card_id))
        .where(col(Certificate.sha256) == certificate_sha256)
    )
    rows = (await session.execute(query)).all()
    if not rows:
        return "this certificate is on no card that is registered here"
    open_rows = [row for row in rows if not _objection(*row)]
    if not open_rows:
        return _objection(*rows[0])
    holders = {card.holder_id for _, card in open_rows}
    person = await session.get(Person, holders.pop()) if len(holders) == 1 else None
    if person is None:
        return "it is not clear whose card this is"
    if await _revoked_at_the_ca(session, open_rows[0][0]):
        return "this certificate is revoked"
    return person if person.active else "this account is disabled; ask an administrator"


def _objection(certificate: Certificate, card: Card) -> str:
    if certificate.state == "revoked":
        return "this certificate is revoked"
    if certificate.state != "on_card":
        return "this certificate is not on the card any more"
    if card.state in CLOSED:
        return "this card is disabled or revoked"
    return "" if card.holder_id else "this card is nobody's"


async def _revoked_at_the_ca(session: AsyncSession, certificate: Certificate) -> bool:
    # By number alone: should another CA have given the same one, the answer is the safe one.
    number = format(int(certificate.serial_number, 16), "x")
    revoked = col(CaCertificate.revoked_at).is_not(None)
    query = select(col(CaCertificate.id)).where(col(CaCertificate.serial_number) == number, revoked)
    return (await session.scalars(query.limit(1))).first() is not None
