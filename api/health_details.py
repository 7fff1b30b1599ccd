"""How the installation does, for administrators; and what a new one still needs."""

import asyncio
import logging
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission
from api.health_checks import CHECKS, Check
from api.health_looks import Finding, Grade
from api.paging import Page
from api.problems import problems
from api.routing import GuardedRoute, Reading
from api.shapes import Out
from api.state import Everything, State
from cardflow.db import register_health as register
from cardflow.db.migrate import newest_revision
from cardflow.decisions import utc_now
from cardflow.sql import transaction

PATIENCE_SECONDS = 4.0
PACKAGES = ("fastapi", "temporalio", "sqlalchemy", "cryptography", "python-pkcs11")

log = logging.getLogger(__name__)

router = APIRouter(tags=["health"], route_class=GuardedRoute)

Admin = Annotated[Caller, Depends(may(Permission.MANAGE_POLICIES))]


class CheckOut(Out):
    """One thing that was looked at: how it stands, what it is for, and what helps."""

    name: str
    title: str
    means: str
    grade: Grade
    says: str
    remedy: str


class HealthOut(Out):
    """How everything stands."""

    checked_at: datetime
    checks: list[CheckOut]
    versions: dict[str, str]
    updates: dict[str, int]  # by stage
    cards: dict[str, int]  # by state


class StepOut(Out):
    """One step from an empty installation to a working one."""

    name: str
    done: bool


@router.get("/health/details", operation_id="show_health", responses=problems())
async def show_health(_caller: Admin, state: Everything) -> HealthOut:
    """Look at everything that the installation rests on, now."""
    # Temporal goes first: the check of the workers goes through the same connection.
    first, rest = CHECKS[:2], CHECKS[2:]
    found = await asyncio.gather(*(_looked_at(check, state) for check in first))
    found += await asyncio.gather(*(_looked_at(check, state) for check in rest))
    updates, cards = await _counts(state, found)
    return HealthOut(
        checked_at=utc_now(), checks=found, versions=_versions(), updates=updates, cards=cards
    )


@router.get("/first-steps", operation_id="list_first_steps", responses=problems())
async def show_first_steps(_caller: Admin, session: Reading) -> Page[StepOut]:
    """List what leads from an empty installation to a working one, and what of it is done."""
    return Page(items=await first_steps(session))


async def first_steps(session: AsyncSession) -> list[StepOut]:
    """Return the steps in their order."""
    return [
        StepOut(name="people", done=await register.others(session)),
        StepOut(name="policy", done=await register.any_policy(session)),
        StepOut(name="cards", done=await register.any_card(session)),
        StepOut(name="agent", done=await register.any_agent(session)),
    ]


async def _looked_at(check: Check, state: State) -> CheckOut:
    try:
        found = await asyncio.wait_for(check.look(state), PATIENCE_SECONDS)
    except Exception:
        # Whatever it is, it is the answer; its words may quote an address or an account.
        log.warning("the health of %s is bad", check.name, exc_info=True)
        found = Finding("bad", "it does not answer", check.remedy)
    return CheckOut(
        name=check.name,
        title=check.title,
        means=check.means,
        grade=found.grade,
        says=found.says,
        remedy=found.remedy,
    )


async def _counts(state: State, found: Sequence[CheckOut]) -> tuple[dict[str, int], dict[str, int]]:
    if any(check.name == "database" and check.grade == "bad" for check in found):
        return {}, {}
    async with transaction(state.reads) as session:
        return await register.updates_by_stage(session), await register.cards_by_state(session)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "database": newest_revision() or ""}
    return found | {package: version(package) for package in PACKAGES}
