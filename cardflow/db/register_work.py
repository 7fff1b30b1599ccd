"""The work lists: what waits for whom, and who has said that they take it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from cardflow.db.tables import Card, Claim, Person, Update, WaitingFor

Whose = Literal["any", "mine", "unclaimed"]
Sort = Literal["age", "due"]
CLAIMANT = aliased(Person)


@dataclass(frozen=True)
class Work:
    """Something that an update waits for, whose card it is about, and who has taken it."""

    waiting: WaitingFor
    update: Update
    card: Card
    holder: Person | None
    claim: Claim | None
    claimant: Person | None


@dataclass(frozen=True)
class Wanted:
    """Which work is asked for, and in which order; an empty word does not narrow."""

    now: datetime
    whose: Whose = "any"
    policy: str = ""
    sort: Sort = "age"


async def work_for(
    session: AsyncSession,
    wanted: Wanted,
    *,
    person_id: str,
    parties: Collection[str],
    after: tuple[datetime, str, str] | None,
    limit: int,
) -> list[Work]:
    """Return what waits for a person, in order.

    That is their own part in their own updates, and for ``parties`` everybody else's updates:
    nobody decides on their own card. One query for each, so that each walks along an index.
    """
    holder, party = col(WaitingFor.holder_id), col(WaitingFor.party)
    concerns = [and_(holder == person_id, party.in_(("holder", "agent")))]
    concerns += [and_(party == one, holder != person_id) for one in parties]
    found: list[Work] = []
    for concern in concerns:
        query = _narrowed(_query(wanted).where(concern), wanted, person_id)
        if after:
            query = query.where(_later_than(wanted, *after))
        found += [Work(*row) for row in (await session.execute(query.limit(limit))).all()]
    return sorted(found, key=lambda work: place(work, wanted.sort))[:limit]


def place(work: Work, sort: Sort) -> tuple[datetime, str, str]:
    """Return where a piece of work stands in the list."""
    entry = work.waiting
    return (entry.since if sort == "age" else entry.until), entry.update_id, entry.lane


def _query(wanted: Wanted) -> Any:
    claimed = and_(
        col(Claim.update_id) == col(WaitingFor.update_id),
        col(Claim.lane) == col(WaitingFor.lane),
        col(Claim.party) == col(WaitingFor.party),
        col(Claim.until) > wanted.now,
    )
    return (
        select(WaitingFor, Update, Card, Person, Claim, CLAIMANT)
        .join(Update, col(Update.id) == col(WaitingFor.update_id))
        .join(Card, col(Card.id) == col(Update.card_id))
        .join(Person, col(Person.id) == col(WaitingFor.holder_id), isouter=True)
        .join(Claim, claimed, isouter=True)
        .join(CLAIMANT, CLAIMANT.id == col(Claim.person_id), isouter=True)  # type: ignore[arg-type]
        .order_by(_at(wanted), col(WaitingFor.update_id), col(WaitingFor.lane))
    )


def _narrowed(query: Any, wanted: Wanted, person_id: str) -> Any:
    if wanted.policy:
        query = query.where(col(Update.policy_name) == wanted.policy)
    if wanted.whose == "mine":
        claims = select(col(Claim.update_id)).where(col(Claim.person_id) == person_id)
        query = query.where(
            col(Claim.person_id) == person_id, col(WaitingFor.update_id).in_(claims)
        )
    if wanted.whose == "unclaimed":
        query = query.where(col(Claim.person_id).is_(None))
    return query


def _at(wanted: Wanted) -> Any:
    return col(WaitingFor.since if wanted.sort == "age" else WaitingFor.until)


def _later_than(
    wanted: Wanted, instant: datetime, update_id: str, lane: str
) -> ColumnElement[bool]:
    at, update, of = _at(wanted), col(WaitingFor.update_id), col(WaitingFor.lane)
    same_time = and_(at == instant, or_(update > update_id, and_(update == update_id, of > lane)))
    # The first part alone lets the database begin where the last page ended.
    return and_(at >= instant, or_(at > instant, same_time))


async def find_waiting(session: AsyncSession, update_id: str, lane: str) -> WaitingFor | None:
    """Return what the lane waits for."""
    return await session.get(WaitingFor, (update_id, lane))


async def find_claim(session: AsyncSession, waiting: WaitingFor, now: datetime) -> Claim | None:
    """Return who has taken this piece of work, unless that is over."""
    claim = await session.get(Claim, (waiting.update_id, waiting.lane))
    if claim is None or claim.until <= now or claim.party != waiting.party:
        return None
    return claim


async def put_claim(session: AsyncSession, claim: Claim) -> None:
    """Leave this claim as the one on its piece of work."""
    await session.merge(claim)
    await session.flush()


async def drop_claim(session: AsyncSession, claim: Claim) -> None:
    """Leave the piece of work free."""
    await session.delete(claim)
    await session.flush()
