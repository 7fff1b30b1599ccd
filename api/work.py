"""What waits for me: one list over all updates, by what my roles let me do."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import may
from api.authorize import Caller, Permission
from api.paging import Page, Paging, page
from api.problems import invalid, problems
from api.routing import GuardedRoute, Reading
from api.shapes import Out
from api.update_shapes import PersonRef
from cardflow.db.register_updates import Work, work_for
from cardflow.db.views import view_of
from cardflow.lifecycle import lane_of
from cardflow.model import Party, Role

PARTIES = {Role.OPERATOR: Party.OPERATOR, Role.OFFICER: Party.OFFICER}

router = APIRouter(prefix="/work", tags=["work"], route_class=GuardedRoute)

Worker = Annotated[Caller, Depends(may(Permission.SEE_WORK))]


class CardRef(Out):
    """A card by id, serial and label."""

    id: str
    token_serial: str
    token_label: str


class WorkOut(Out):
    """One thing to do; an officer's is decided under its request at the CA."""

    update_id: str
    lane: str
    party: Party
    what: str
    holder: PersonRef
    card: CardRef
    since: datetime
    until: datetime
    request_id: str


@router.get("", operation_id="list_work", responses=problems())
async def show_work(
    caller: Worker, session: Reading, paging: Annotated[Paging, Depends()]
) -> Page[WorkOut]:
    """List what waits for you, what waits longest first."""
    rows = await work_for(
        session,
        person_id=caller.id,
        parties=[party for role, party in PARTIES.items() if role in caller.roles],
        after=_position(paging.after("work")),
        limit=paging.limit + 1,
    )
    return page("work", rows, paging, _place, _shown)


def _place(work: Work) -> str:
    entry = work.waiting
    return f"{entry.since.isoformat()} {entry.update_id} {entry.lane}"


def _position(key: str) -> tuple[datetime, str, str] | None:
    if not key:
        return None
    try:
        since, update_id, lane = key.split(" ", 2)
        return datetime.fromisoformat(since), update_id, lane
    except ValueError:
        raise invalid("cursor", "it is not one that this list gave") from None


def _shown(work: Work) -> WorkOut:
    entry, card = work.waiting, work.card
    return WorkOut(
        update_id=entry.update_id,
        lane=entry.lane,
        party=Party(entry.party),
        what=entry.what,
        holder=PersonRef(id=entry.holder_id, name=work.holder.name if work.holder else ""),
        card=CardRef.model_validate(card),
        since=entry.since,
        until=entry.until,
        request_id=_request_id(work) if entry.party == Party.OFFICER else "",
    )


def _request_id(work: Work) -> str:
    lane = lane_of(view_of(work.update).state, work.waiting.lane)
    return f"{work.update.id}:{lane.revision}:{lane.plan.lane}"
