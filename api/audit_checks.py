"""Checks of the whole audit chain: ordered by a person, run beside what this process serves."""

import logging
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission
from api.checkpoints import known_checkpoints
from api.paging import Page, Paging, page
from api.problems import not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import Id, In, Out
from api.state import Everything, State
from cardflow.chain import Verification, Walk
from cardflow.db import audit
from cardflow.db.register_trail import find_check, last_number, list_checks
from cardflow.db.register_updates import names_of
from cardflow.db.tables import AuditCheck
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.model import new_id
from cardflow.sql import transaction

REPORT_EVERY = timedelta(seconds=0.25)
SILENT_AFTER = timedelta(seconds=30)
BROKEN_OFF = "the check was broken off; start it again"

log = logging.getLogger(__name__)

router = APIRouter(prefix="/audit/checks", tags=["audit"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AUDIT))]


class Outcome(StrEnum):
    """How a check stands."""

    RUNNING = "running"
    WHOLE = "whole"
    BROKEN = "broken"
    BROKEN_OFF = "broken_off"


class NothingIn(In):
    """Nothing needs to be said."""


class CheckOut(Out):
    """A check: how far it came, and what it found; ``broken_at`` is the first entry not whole."""

    id: str
    outcome: Outcome
    started_by: str
    started_by_name: str
    started_at: datetime
    finished_at: datetime | None
    total: int
    checked: int
    covered_to: int  # entries after it are not under a checkpoint yet
    broken_at: int | None
    reason: str


@router.post("", status_code=202, operation_id="check_audit", responses=problems(413))
async def start_check(_body: NothingIn, caller: Reader, state: Everything) -> CheckOut:
    """Begin to check every link of the chain; a check that runs already is the answer."""
    async with transaction(state.sessions) as session:  # no failpoint: a dead one is begun anew
        running = await _running(session)
        check = running or await _begun(session, caller)
        names = await names_of(session, {check.started_by})
    if running is None:
        state.background.start(check.id, _carry_out(state, check))
    return _shown(check, names)


@router.get("", operation_id="list_audit_checks", responses=problems())
async def show_checks(
    _caller: Reader, session: Reading, paging: Annotated[Paging, Depends()]
) -> Page[CheckOut]:
    """List the checks that were made, the newest first."""
    before, limit = paging.after("checks"), paging.limit + 1
    rows = await list_checks(session, before=before, limit=limit)
    names = await names_of(session, {row.started_by for row in rows})
    return page("checks", rows, paging, lambda row: row.id, lambda row: _shown(row, names))


@router.get("/{check_id}", operation_id="show_audit_check", responses=problems(404))
async def show_check(check_id: Id, _caller: Reader, session: Reading) -> CheckOut:
    """Return how a check stands."""
    check = await find_check(session, check_id)
    if check is None:
        raise not_found("check")
    return _shown(check, await names_of(session, {check.started_by}))


async def _running(session: AsyncSession) -> AuditCheck | None:
    newest = await list_checks(session, before="", limit=1)
    return next((check for check in newest if _outcome(check) is Outcome.RUNNING), None)


async def _begun(session: AsyncSession, caller: Caller) -> AuditCheck:
    now = utc_now()
    check = AuditCheck(
        id=new_id(),
        started_by=caller.id,
        started_at=now,
        seen_at=now,
        total=await last_number(session),
    )
    session.add(check)
    return check


async def _carry_out(state: State, check: AuditCheck) -> None:
    try:
        found = await _walked(state, check)
    except Unavailable as error:
        log.warning("a check of the audit chain was broken off: %s", error)
        return
    check.finished_at, check.checked = utc_now(), found.entries
    check.broken_at, check.reason = found.broken_at, found.reason
    check.covered_to = found.covered_to
    await _report(state, check)


async def _walked(state: State, check: AuditCheck) -> Verification:
    signed, wrong = await known_checkpoints(state)
    walk = Walk(signed, known=wrong, now=utc_now())
    async with transaction(state.reads) as session:
        async for number in audit.walking(session, walk):
            if utc_now() - check.seen_at > REPORT_EVERY:
                check.checked = number
                await _report(state, check)
    return walk.close()


async def _report(state: State, check: AuditCheck) -> None:
    """Leave on record how far the check came; its end stands in the trail too."""
    check.seen_at = utc_now()
    async with transaction(state.sessions) as session:  # no failpoint: a dead one is begun anew
        await session.merge(check)
        if check.finished_at:
            await audit.append(session, _entry(check))


def _entry(check: AuditCheck) -> audit.Entry:
    facts = {
        "check_id": check.id,
        "ok": check.broken_at is None,
        "entries": check.checked,
        "covered_to": check.covered_to,
        "broken_at": check.broken_at,
    }
    return audit.Entry("chain_checked", check.seen_at, actor=check.started_by, facts=facts)


def _outcome(check: AuditCheck) -> Outcome:
    if check.finished_at:
        return Outcome.WHOLE if check.broken_at is None else Outcome.BROKEN
    silent = utc_now() - check.seen_at > SILENT_AFTER
    return Outcome.BROKEN_OFF if silent else Outcome.RUNNING


def _shown(check: AuditCheck, names: dict[str, str]) -> CheckOut:
    outcome = _outcome(check)
    return CheckOut(
        id=check.id,
        outcome=outcome,
        started_by=check.started_by,
        started_by_name=names.get(check.started_by, ""),
        started_at=check.started_at,
        finished_at=check.finished_at,
        total=check.total,
        checked=check.checked,
        covered_to=check.covered_to,
        broken_at=check.broken_at,
        reason=BROKEN_OFF if outcome is Outcome.BROKEN_OFF else check.reason,
    )
