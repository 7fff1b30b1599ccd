"""Queries about who somebody is: people, sign-ins and API tokens."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, String, cast, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.register_sign_in import owner_of
from cardflow.db.tables import (
    ApiToken,
    Card,
    Claim,
    IdempotentAnswer,
    Person,
    Session,
    SpentToken,
)
from cardflow.errors import Refused
from cardflow.model import Role, new_id
from cardflow.passwords import hash_password

SEEN_EVERY = timedelta(minutes=1)  # writing at each request would turn every read into a write


@dataclass(frozen=True)
class SignIn:
    """A session or an API token that is still good, and whose it is."""

    person: Person
    roles: tuple[str, ...]
    by_api_token: bool
    stale: bool  # its last use was noted so long ago that this one is worth noting
    way: str = ""  # of the session: password provider card
    authenticated_at: datetime | None = None  # of a session
    needs_factor: bool = False  # a role asks for one-time codes, and there are none yet


@dataclass(frozen=True)
class Opening:
    """How somebody signed in, and what is kept to end the sign-in when that is over."""

    way: str = "password"
    authenticated_at: datetime | None = None  # where that is not now: elsewhere, earlier
    provider_session: str = ""
    id_token: str = ""  # sealed
    certificate_sha256: str = ""


PASSWORD = Opening()


async def person_by_login(session: AsyncSession, login: str) -> Person | None:
    """Return the person with this login."""
    return (await session.scalars(select(Person).where(col(Person.login) == login))).one_or_none()


async def people_by_login(session: AsyncSession, logins: Collection[str]) -> dict[str, Person]:
    """Return the people with these logins; a login that nobody has is left out."""
    query = select(Person).where(col(Person.login).in_(logins))
    return {person.login: person for person in (await session.scalars(query)).all()}


async def find_person(session: AsyncSession, person_id: str) -> Person | None:
    """Return the person."""
    return await session.get(Person, person_id)


async def list_people(
    session: AsyncSession,
    *,
    after: str,
    limit: int,
    search: str = "",
    role: str = "",
    active: bool | None = None,
) -> list[Person]:
    """Return people in the order they were entered, those after ``after`` only."""
    query = select(Person).where(col(Person.id) > after).order_by(col(Person.id)).limit(limit)
    if search:
        query = query.where(_about(search))
    if role:
        query = query.where(cast(col(Person.roles), String).contains(f'"{role}"'))
    if active is not None:
        query = query.where(col(Person.active).is_(active))
    return list((await session.scalars(query)).all())


def _about(search: str) -> ColumnElement[bool]:
    columns = (Person.login, Person.name, Person.email)
    return or_(*(col(column).icontains(search, autoescape=True) for column in columns))


async def create_first_admin(
    session: AsyncSession, *, login: str, name: str, password: str, now: datetime
) -> Person:
    """Leave the installation's first administrator; refused where people are registered."""
    if (await session.scalars(select(Person).limit(1))).first():
        raise Refused("people are registered already; an administrator adds others")
    person = Person(
        id=new_id(),
        login=login,
        name=name,
        roles=[Role.ADMIN],
        password_hash=hash_password(password),
        created_at=now,
    )
    session.add(person)
    await session.flush()
    return person


async def open_session(
    session: AsyncSession,
    person_id: str,
    token_sha256: str,
    *,
    now: datetime,
    until: datetime,
    user_agent: str = "",
    opening: Opening = PASSWORD,
) -> None:
    """Leave a sign-in that ends at ``until``, or earlier when it is not used."""
    row = Session(
        token_sha256=token_sha256,
        person_id=person_id,
        created_at=now,
        seen_at=now,
        expires_at=until,
        authenticated_at=opening.authenticated_at or now,
        user_agent=user_agent[:300],
        way=opening.way,
        provider_session=opening.provider_session,
        id_token=opening.id_token,
        certificate_sha256=opening.certificate_sha256,
    )
    session.add(row)
    await session.flush()


async def sessions_of(
    session: AsyncSession, person_id: str, *, now: datetime, idle: timedelta
) -> list[Session]:
    """Return a person's sign-ins that are still good, the one used last first."""
    query = select(Session).where(
        col(Session.person_id) == person_id,
        col(Session.expires_at) > now,
        col(Session.seen_at) > now - idle,
    )
    return list((await session.scalars(query.order_by(col(Session.seen_at).desc()))).all())


async def signed_in_by_session(
    session: AsyncSession, token_sha256: str, *, now: datetime, idle: timedelta
) -> SignIn | None:
    """Return whose sign-in this is, unless it is over or its person or card is disabled."""
    # One question: it is asked before every request is answered.
    query = select(Session, Person).join(Person, col(Person.id) == col(Session.person_id))
    found = (await session.execute(query.where(col(Session.token_sha256) == token_sha256))).first()
    if found is None:
        return None
    row, person = found
    if row.expires_at <= now or row.seen_at + idle <= now or not person.active:
        return None
    if row.certificate_sha256 and await owner_of(session, row.certificate_sha256) != person:
        return None
    stale = row.seen_at + SEEN_EVERY <= now
    return SignIn(
        person,
        tuple(person.roles),
        by_api_token=False,
        stale=stale,
        way=row.way,
        authenticated_at=row.authenticated_at,
    )


async def signed_in_by_api_token(
    session: AsyncSession, token_sha256: str, *, now: datetime
) -> SignIn | None:
    """Return whose API token this is; it can do no more than its person still can."""
    query = select(ApiToken).where(col(ApiToken.token_sha256) == token_sha256)
    row = (await session.scalars(query)).one_or_none()
    if row is None or row.revoked_at or row.expires_at <= now:
        return None
    person = await session.get(Person, row.person_id)
    if person is None or not person.active:
        return None
    roles = tuple(role for role in row.roles if role in person.roles)
    stale = row.used_at is None or row.used_at + SEEN_EVERY <= now
    return SignIn(person, roles, by_api_token=True, stale=stale)


async def note_use(
    session: AsyncSession, token_sha256: str, *, by_api_token: bool, now: datetime
) -> None:
    """Leave the sign-in or API token as used now."""
    if by_api_token:
        used = update(ApiToken).where(col(ApiToken.token_sha256) == token_sha256)
        await session.execute(used.values(used_at=now))
    else:
        seen = update(Session).where(col(Session.token_sha256) == token_sha256)
        await session.execute(seen.values(seen_at=now))


async def find_session(session: AsyncSession, token_sha256: str) -> Session | None:
    """Return the sign-in."""
    return await session.get(Session, token_sha256)


async def renew_session(
    session: AsyncSession, token_sha256: str, *, new_sha256: str, now: datetime
) -> None:
    """Leave the sign-in as proven anew, under another token: the old one opens nothing."""
    kept = update(Session).where(col(Session.token_sha256) == token_sha256)
    await session.execute(kept.values(token_sha256=new_sha256, authenticated_at=now, seen_at=now))


async def close_session(session: AsyncSession, token_sha256: str) -> None:
    """End one sign-in."""
    await session.execute(delete(Session).where(col(Session.token_sha256) == token_sha256))


async def close_sessions_of(session: AsyncSession, person_id: str, *, but: str = "") -> None:
    """End every sign-in of a person, except ``but``."""
    mine = col(Session.person_id) == person_id
    await session.execute(delete(Session).where(mine, col(Session.token_sha256) != but))


async def list_api_tokens(session: AsyncSession, person_id: str) -> list[ApiToken]:
    """Return a person's API tokens, the revoked ones too."""
    query = select(ApiToken).where(col(ApiToken.person_id) == person_id).order_by(col(ApiToken.id))
    return list((await session.scalars(query)).all())


async def find_api_token(session: AsyncSession, token_id: str) -> ApiToken | None:
    """Return the API token."""
    return await session.get(ApiToken, token_id)


async def forget_what_is_over(session: AsyncSession, *, now: datetime, idle: timedelta) -> None:
    """Remove ended sign-ins and claims, and answers that nobody repeats a request for any more."""
    over = or_(col(Session.expires_at) <= now, col(Session.seen_at) <= now - idle)
    await session.execute(delete(Session).where(over))
    await session.execute(delete(Claim).where(col(Claim.until) <= now))
    await session.execute(delete(SpentToken).where(col(SpentToken.until) <= now))
    old = col(IdempotentAnswer.recorded_at) <= now - timedelta(hours=24)
    await session.execute(delete(IdempotentAnswer).where(old))


async def people_in(session: AsyncSession, role: Role) -> list[Person]:
    """Return the active people who have the role."""
    has_role = cast(col(Person.roles), String).like(f'%"{role}"%')
    query = select(Person).where(col(Person.active).is_(True), has_role)
    return list((await session.scalars(query.order_by(col(Person.id)))).all())


async def holds_cards(session: AsyncSession, person_id: str) -> bool:
    """Tell whether a card is this account's."""
    return bool(await session.scalar(select(exists().where(col(Card.holder_id) == person_id))))


async def has_second_accounts(session: AsyncSession, person_id: str) -> bool:
    """Tell whether another account is of the same person as this one."""
    return bool(await session.scalar(select(exists().where(col(Person.same_as) == person_id))))
