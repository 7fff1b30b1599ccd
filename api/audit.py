"""The audit trail, and whether its chain is whole."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.auth import may
from api.authorize import Caller, Permission
from api.paging import Page, Paging, page
from api.problems import problems
from api.routing import GuardedRoute, Reading
from api.shapes import Out
from cardflow.db import audit
from cardflow.db.register_trail import list_entries

router = APIRouter(prefix="/audit", tags=["audit"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AUDIT))]


class EntryOut(Out):
    """One link of the chain; ``text`` is what was hashed, as it was hashed."""

    number: int
    at: datetime
    kind: str
    update_id: str
    event: int | None
    actor: str
    text: str
    previous: str
    hash: str


class VerificationOut(Out):
    """Whether the chain is whole; if not, where it breaks first, and why."""

    ok: bool
    entries: int
    broken_at: int | None
    reason: str


@router.get("", operation_id="list_audit", responses=problems())
async def show_audit(
    _caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    update: Annotated[str, Query(max_length=36)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    actor: Annotated[str, Query(max_length=36)] = "",
) -> Page[EntryOut]:
    """List what happened, the oldest first."""
    rows = await list_entries(
        session,
        after=paging.after_number("audit"),
        limit=paging.limit + 1,
        update_id=update,
        kind=kind,
        actor=actor,
    )
    return page("audit", rows, paging, lambda row: str(row.number), EntryOut.model_validate)


@router.get("/verify", operation_id="verify_audit", responses=problems())
async def verify_audit(_caller: Reader, session: Reading) -> VerificationOut:
    """Check every link of the chain."""
    return VerificationOut.model_validate(await audit.verify(session))
