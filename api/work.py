"""What waits for me: one list over all updates, by what my roles let me do; and who takes what."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems, refused
from api.routing import GuardedRoute, Reading, Transaction
from api.shapes import LINE, Flag, Id, In, Out
from api.state import AppSettings
from api.update_shapes import PersonRef
from cardflow.db import audit
from cardflow.db.register_updates import names_of
from cardflow.db.register_work import (
    Sort,
    Wanted,
    Whose,
    Work,
    drop_claim,
    find_claim,
    find_waiting,
    place,
    put_claim,
    work_for,
)
from cardflow.db.tables import Claim, WaitingFor
from cardflow.db.views import input_of, view_of
from cardflow.decisions import utc_now
from cardflow.lifecycle import lane_of
from cardflow.model import Lane, Party, Role
from cardflow.policy import CHECKING, decision_digest, four_eyes_objections

PARTIES = {Role.OPERATOR: Party.OPERATOR, Role.OFFICER: Party.OFFICER}
SOON = timedelta(days=3)

router = APIRouter(prefix="/work", tags=["work"], route_class=GuardedRoute)

Worker = Annotated[Caller, Depends(may(Permission.SEE_WORK))]
LaneName = Annotated[str, StringConstraints(max_length=64, pattern="^[a-z0-9-]+$")]


class CardRef(Out):
    """A card by id, serial and label."""

    id: str
    token_serial: str
    token_label: str


class ClaimIn(In):
    """Whether to take what somebody else has taken."""

    take_over: Flag = False


class ClaimOut(Out):
    """Who takes a piece of work: a hint, which ends by itself and hinders nobody's decision."""

    person: PersonRef
    claimed_at: datetime
    until: datetime


class WorkOut(Out):
    """One thing to do; an officer's is decided under its request at the CA."""

    update_id: str
    lane: str
    party: Party
    what: str
    holder: PersonRef
    card: CardRef
    policy_name: str
    since: datetime
    until: datetime
    due: Literal["", "soon", "overdue"]
    claim: ClaimOut | None
    against: str  # why somebody else must do it, when it is not for you
    request_id: str
    decision_digest: str  # of the document under check, when it may be decided by you


@dataclass(frozen=True)
class Asked:
    """Which work a list is about; what is left out does not narrow it."""

    whose: Annotated[Whose, Query(description="`mine`: what you have claimed.")] = "any"
    policy: Annotated[str, Query(max_length=100, pattern=LINE)] = ""
    sort: Annotated[Sort, Query(description="What waits longest, or is due next, first.")] = "age"


@router.get("", operation_id="list_work", responses=problems())
async def show_work(
    caller: Worker,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    asked: Annotated[Asked, Depends()],
) -> Page[WorkOut]:
    """List what waits for you."""
    now, name = utc_now(), f"work {asked.sort}"
    rows = await work_for(
        session,
        Wanted(now, asked.whose, asked.policy, asked.sort),
        person_id=caller.id,
        parties=parties_of(caller),
        after=_position(paging.after(name)),
        limit=paging.limit + 1,
    )
    return page(
        name, rows, paging, lambda work: _key(work, asked.sort), lambda x: _shown(x, caller, now)
    )


@router.put("/{update_id}/{lane}/claim", operation_id="claim_work", responses=problems(404, 409))
async def claim_work(
    *,
    update_id: Id,
    lane: LaneName,
    caller: Worker,
    session: Transaction,
    settings: AppSettings,
    body: ClaimIn = ClaimIn(),
) -> ClaimOut:
    """Tell the others that you take this; what is taken is taken over only if you say so."""
    waiting, now = await _work(session, caller, update_id, lane), utc_now()
    claim = await find_claim(session, waiting, now)
    if claim is None or claim.person_id != caller.id:
        if claim and not body.take_over:
            raise refused([await _taken(session, claim)])
        until = now + timedelta(hours=settings.claim_hours)
        facts = {"from": claim.person_id} if claim else {}
        claim = Claim(
            update_id=update_id, lane=lane, party=waiting.party, person_id=caller.id,
            claimed_at=now, until=until,
        )  # fmt: skip
        await put_claim(session, claim)
        await _remember(session, caller, "work_claimed", waiting, facts)
    person = PersonRef(id=caller.id, name=caller.name)
    return ClaimOut(person=person, claimed_at=claim.claimed_at, until=claim.until)


@router.delete(
    "/{update_id}/{lane}/claim",
    status_code=204,
    operation_id="release_work",
    responses=problems(404, 409),
)
async def release_work(update_id: Id, lane: LaneName, caller: Worker, session: Transaction) -> None:
    """Leave what you have claimed to the others again."""
    waiting = await _work(session, caller, update_id, lane)
    claim = await find_claim(session, waiting, utc_now())
    if claim is None:
        return
    if claim.person_id != caller.id:
        raise refused([await _taken(session, claim)])
    await drop_claim(session, claim)
    await _remember(session, caller, "work_released", waiting, {})


async def claim_on(
    session: AsyncSession, caller: Caller, update_id: str, lane: str
) -> tuple[bool, ClaimOut | None]:
    """Return whether the caller could take what the lane waits for, and who has taken it."""
    waiting = await find_waiting(session, update_id, lane)
    if waiting is None or not _is_for(caller, waiting):
        return False, None
    claim = await find_claim(session, waiting, utc_now())
    names = await names_of(session, {claim.person_id}) if claim else {}
    return True, _claim(claim, names.get(claim.person_id, "")) if claim else None


def parties_of(caller: Caller) -> list[Party]:
    """Return in which parties' place the caller acts."""
    return [party for role, party in PARTIES.items() if role in caller.roles]


async def _work(session: AsyncSession, caller: Caller, update_id: str, lane: str) -> WaitingFor:
    waiting = await find_waiting(session, update_id, lane)
    if waiting is None or not _is_for(caller, waiting):
        raise not_found("work")
    return waiting


def _is_for(caller: Caller, waiting: WaitingFor) -> bool:
    return waiting.party in parties_of(caller) and waiting.holder_id != caller.id


async def _taken(session: AsyncSession, claim: Claim) -> str:
    names = await names_of(session, {claim.person_id})
    return f"{names.get(claim.person_id, 'somebody')} has claimed this; take it over instead"


def _key(work: Work, sort: Sort) -> str:
    at, update_id, lane = place(work, sort)
    return f"{at.isoformat()} {update_id} {lane}"


def _position(key: str) -> tuple[datetime, str, str] | None:
    if not key:
        return None
    try:
        since, update_id, lane = key.split(" ", 2)
        return datetime.fromisoformat(since), update_id, lane
    except ValueError:
        raise invalid("cursor", "it is not one that this list gave") from None


def _shown(work: Work, caller: Caller, now: datetime) -> WorkOut:
    entry, card = work.waiting, work.card
    lane = lane_of(view_of(work.update).state, entry.lane) if entry.lane else None
    against = _against(work, lane, caller) if lane else ""
    decides = lane is not None and lane.stage in CHECKING and not against
    return WorkOut(
        update_id=entry.update_id,
        lane=entry.lane,
        party=Party(entry.party),
        what=entry.what,
        holder=PersonRef(id=entry.holder_id, name=work.holder.name if work.holder else ""),
        card=CardRef.model_validate(card),
        policy_name=work.update.policy_name,
        since=entry.since,
        until=entry.until,
        due=due_mark(entry.until, now),
        claim=_claim(work.claim, work.claimant.name) if work.claim and work.claimant else None,
        against=against,
        request_id=_request_id(work, lane) if lane and entry.party == Party.OFFICER else "",
        decision_digest=decision_digest(input_of(work.update), lane) if lane and decides else "",
    )


def due_mark(until: datetime, now: datetime) -> Literal["", "soon", "overdue"]:
    """Return whether something is late, or will be within days."""
    if until <= now:
        return "overdue"
    return "soon" if until - now <= SOON else ""


def _claim(claim: Claim, name: str) -> ClaimOut:
    person = PersonRef(id=claim.person_id, name=name)
    return ClaimOut(person=person, claimed_at=claim.claimed_at, until=claim.until)


def _against(work: Work, lane: Lane, caller: Caller) -> str:
    if lane.stage not in CHECKING and work.waiting.party != Party.OFFICER:
        return ""
    own = (work.update.holder_id, work.update.started_by)
    found = four_eyes_objections(caller.person, own)
    if lane.stage in CHECKING and caller.person in lane.approvals:
        found.append("you have approved it; another person must approve too")
    return "; ".join(found)


def _request_id(work: Work, lane: Lane) -> str:
    return f"{work.update.id}:{lane.revision}:{lane.plan.lane}"


async def _remember(
    session: AsyncSession, caller: Caller, kind: str, waiting: WaitingFor, more: dict[str, str]
) -> None:
    facts = {"update_id": waiting.update_id, "lane": waiting.lane, "party": waiting.party, **more}
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
