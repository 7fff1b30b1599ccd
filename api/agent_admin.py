"""Agents as people see them: codes to enrol with, words to compare, and an end to each."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.agent_caller import is_too_old
from api.auth import Proof, may
from api.authorize import Caller, Permission, Scope, authorize
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems, refused
from api.routing import OnceRoute, Reading, Transaction
from api.shapes import LINE, Id, In, Line, Out
from api.state import AppSettings
from cardflow.db import audit
from cardflow.db.register_agents import FRESH, find_agent, forget_presence, list_agents
from cardflow.db.register_identity import find_person
from cardflow.db.register_updates import names_of
from cardflow.db.tables import Agent, EnrolmentCode
from cardflow.decisions import utc_now
from cardflow.enrolment import code_id, code_key, new_code
from cardflow.settings import Settings

CODE_LIVES = timedelta(minutes=15)

router = APIRouter(prefix="/agents", tags=["agents"], route_class=OnceRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AGENTS))]
Keeper = Annotated[Caller, Depends(may(Permission.MANAGE_AGENTS))]
Confirmer = Annotated[Caller, Depends(may(Permission.MANAGE_AGENTS, Proof.IN_PERSON))]


AgentState = Literal["pending", "compared", "confirmed", "revoked"]


class AgentOut(Out):
    """An agent; ``words`` are what the workstation shows too.

    ``compared``: its holder has confirmed it, and an administrator has yet to.
    """

    id: str
    person_id: str
    person: str = ""  # their name
    words: str
    host: str
    system: str
    version: str
    state: AgentState
    enrolled_at: datetime
    confirmed_at: datetime | None
    revoked_at: datetime | None
    seen_at: datetime | None
    key_since: datetime | None = None  # of its device key
    connected: bool = False
    too_old: bool = False  # its version gets no work any more


class CodeIn(In):
    """For whose workstation; without it, one's own."""

    person_id: Id | None = None


class CodeOut(Out):
    """A code that is shown once."""

    code: str
    expires_at: datetime


class WordsIn(In):
    """The six words that the workstation shows."""

    words: Line


@router.get("", operation_id="list_agents", responses=problems())
async def show_agents(  # noqa: PLR0917 (what a route depends on)
    caller: Reader,
    session: Reading,
    settings: AppSettings,
    paging: Annotated[Paging, Depends()],
    person: Annotated[str, Query(max_length=36, pattern=LINE)] = "",
    state: AgentState | None = None,
) -> Page[AgentOut]:
    """List agents; a holder sees their own."""
    only_own = authorize(caller, Permission.SEE_AGENTS).scope is Scope.OWN
    if only_own and person not in ("", caller.id):
        return Page(items=[])
    rows = await list_agents(
        session,
        person_id=caller.id if only_own else person,
        state=state or "",
        after=paging.after("agents"),
        limit=paging.limit + 1,
    )
    names = await names_of(session, {row.person_id for row in rows})
    return page(
        "agents", rows, paging, lambda row: row.id, lambda row: _shown(row, names, settings)
    )


@router.post(
    "/codes", status_code=201, operation_id="make_enrolment_code", responses=problems(404, 409)
)
async def make_code(body: CodeIn, caller: Keeper, session: Transaction) -> CodeOut:
    """Make a one-time code for enrolling a workstation; it is good for 15 minutes."""
    person_id = body.person_id or caller.id
    person = await find_person(session, person_id)
    only_own = authorize(caller, Permission.MANAGE_AGENTS).scope is Scope.OWN
    if person is None or (only_own and person_id != caller.id):
        raise not_found("person")
    if not person.active:
        raise refused(["the person is disabled"])
    code, now = new_code(), utc_now()
    row = EnrolmentCode(
        id=code_id(code),
        person_id=person.id,
        key_hex=code_key(code).hex(),
        expires_at=now + CODE_LIVES,
    )
    session.add(row)
    await session.flush()
    await _remember(session, caller, "agent_code_made", {"person_id": person.id})
    return CodeOut(code=code, expires_at=row.expires_at)


@router.post("/{agent_id}/confirm", operation_id="confirm_agent", responses=problems(404, 409))
async def confirm_agent(
    agent_id: Id, body: WordsIn, caller: Confirmer, session: Transaction, settings: AppSettings
) -> AgentOut:
    """Confirm an agent by the words that its workstation shows.

    Where administrators confirm too, the holder's word comes first and theirs makes it count.
    """
    agent = await _agent(session, caller, agent_id)
    if agent.state == "revoked":
        raise refused(["this agent was revoked; enrol it again"])
    if body.words.lower().split() != agent.words.split():
        remedy = "read them from the workstation; revoke the agent if they stay different"
        raise invalid("words", "these are not the words of this agent", remedy)
    step = _next_step(agent, caller, settings)
    if step != agent.state:
        agent.state, agent.confirmed_at = step, utc_now() if step == "confirmed" else None
        await _remember(session, caller, f"agent_{step}", {"agent_id": agent.id})
    return _shown(agent, await names_of(session, {agent.person_id}), settings)


def _next_step(agent: Agent, caller: Caller, settings: Settings) -> str:
    """Return where this person's confirmation brings the agent, or raise why it does not count."""
    is_own = agent.person_id in (caller.id, caller.person)
    if settings.agent_confirmation == "holder" or agent.state == "confirmed":
        return "confirmed"
    if is_own:
        return "compared"
    if agent.state == "pending":
        raise refused(["its holder compares the words first, under “My account”"])
    return "confirmed"


@router.post("/{agent_id}/revoke", operation_id="revoke_agent", responses=problems(404))
async def revoke_agent(
    agent_id: Id, caller: Keeper, session: Transaction, settings: AppSettings
) -> AgentOut:
    """End an agent; within five seconds it gets no job and its answers are refused."""
    agent = await _agent(session, caller, agent_id)
    if agent.state != "revoked":
        agent.state, agent.revoked_at = "revoked", utc_now()
        await forget_presence(session, agent.id)
        await _remember(session, caller, "agent_revoked", {"agent_id": agent.id})
    return _shown(agent, await names_of(session, {agent.person_id}), settings)


async def _agent(session: AsyncSession, caller: Caller, agent_id: str) -> Agent:
    agent = await find_agent(session, agent_id)
    if agent is None:
        raise not_found("agent")
    authorize(caller, Permission.MANAGE_AGENTS, agent)
    return agent


def _shown(agent: Agent, names: dict[str, str], settings: Settings) -> AgentOut:
    shown = AgentOut.model_validate(agent)
    shown.too_old = is_too_old(settings, agent.version)
    fresh = agent.seen_at is not None and utc_now() - agent.seen_at < FRESH
    shown.connected = fresh and agent.state == "confirmed"
    shown.person = names.get(agent.person_id, "")
    return shown


async def _remember(
    session: AsyncSession, caller: Caller, kind: str, facts: dict[str, Any]
) -> None:
    await audit.append(session, audit.Entry(kind, utc_now(), actor=caller.id, facts=facts))
