"""One's own account: language, time zone, and where one is signed in."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.paging import Page
from api.problems import not_found, problems
from api.routing import GuardedRoute, Reading, Transaction
from api.shapes import Id, Out
from api.state import AppSettings
from cardflow.db import audit
from cardflow.db.register_identity import (
    close_session,
    close_sessions_of,
    sessions_of,
)
from cardflow.db.tables import Session
from cardflow.decisions import utc_now
from cardflow.settings import Settings

ID_LENGTH = 32

router = APIRouter(prefix="/me", tags=["session"], route_class=GuardedRoute)

Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]
Ender = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT, Proof.FRESH))]


class SignInOut(Out):
    """A sign-in of one's own that is still good."""

    id: str
    user_agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool  # it is the one that asks


@router.get("/sessions", operation_id="list_sign_ins", responses=problems())
async def show_sign_ins(caller: Owner, session: Reading, settings: AppSettings) -> Page[SignInOut]:
    """List where one is signed in, the one used last first."""
    rows = await _mine(session, caller, settings)
    return Page(items=[_shown(row, caller) for row in rows])


@router.delete(
    "/sessions/{sign_in_id}", status_code=204, operation_id="end_sign_in", responses=problems(404)
)
async def end_sign_in(
    sign_in_id: Id, caller: Ender, session: Transaction, settings: AppSettings
) -> None:
    """End one of one's own sign-ins."""
    rows = await _mine(session, caller, settings)
    row = next((row for row in rows if _id(row) == sign_in_id), None)
    if row is None:
        raise not_found("sign-in")
    await close_session(session, row.token_sha256)
    await _remember(session, caller)


@router.delete(
    "/sessions", status_code=204, operation_id="end_other_sign_ins", responses=problems()
)
async def end_other_sign_ins(caller: Ender, session: Transaction) -> None:
    """End all of one's own sign-ins but the one that asks."""
    await close_sessions_of(session, caller.id, but=caller.token_sha256)
    await _remember(session, caller)


async def _mine(session: AsyncSession, caller: Caller, settings: Settings) -> list[Session]:
    idle = timedelta(hours=settings.session_idle_hours)
    return await sessions_of(session, caller.id, now=utc_now(), idle=idle)


def _shown(row: Session, caller: Caller) -> SignInOut:
    return SignInOut(
        id=_id(row),
        user_agent=row.user_agent,
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        current=row.token_sha256 == caller.token_sha256,
    )


def _id(row: Session) -> str:
    # The digest is of 256 random bits: half of it names the sign-in and opens nothing.
    return row.token_sha256[:ID_LENGTH]


async def _remember(session: AsyncSession, caller: Caller) -> None:
    await audit.append(session, audit.Entry("sign_in_ended", utc_now(), actor=caller.id))
