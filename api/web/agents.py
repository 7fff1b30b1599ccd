"""Workstations' agents as those who keep them see them: compare words, confirm, end."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response

from api.agent_admin import AgentState, WordsIn, confirm_agent, revoke_agent, show_agents
from api.auth import Proof, may
from api.authorize import Caller, Permission, grants
from api.paging import Paging
from api.people import show_person
from api.problems import NOT_DONE
from api.routing import Transaction
from api.shapes import Id
from api.state import AppSettings, Everything, State
from api.web.account import confirmed
from api.web.filling import filled
from api.web.forms import shown_again
from api.web.live import version_of
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.sql import transaction

HERE = "/agents"
STATES: tuple[AgentState, ...] = ("pending", "compared", "confirmed", "revoked")

router = APIRouter(prefix=HERE, route_class=PageRoute, include_in_schema=False)

Reader = Annotated[Caller, Depends(may(Permission.SEE_AGENTS))]
Keeper = Annotated[Caller, Depends(may(Permission.MANAGE_AGENTS))]
Part = Annotated[Paging, Depends()]
Words = Annotated[str, Form(max_length=300)]


@router.get("", name="agents_page")
async def agents_page(
    request: Request, caller: Reader, state: Everything, paging: Part
) -> Response:
    """Return the list of agents."""
    return await _agents(request, caller, state, paging)


@router.post(
    "/{agent_id}/confirm",
    name="confirm_any_agent_form",
    dependencies=[Depends(may(Permission.MANAGE_AGENTS, Proof.IN_PERSON))],
)
async def confirm(
    request: Request, agent_id: Id, caller: Keeper, state: Everything, words: Words = ""
) -> Response:
    """Confirm an agent by the words that its workstation shows."""
    try:
        async with transaction(state.sessions) as session:
            given = filled(WordsIn, {"words": words})
            done = await confirm_agent(agent_id, given, caller, session, state.settings)
    except NOT_DONE as error:
        again = shown_again(error, "", words=words, agent=agent_id)
        return await _agents(request, caller, state, Paging(), **again)
    return go(request, HERE, confirmed(done))


@router.post("/{agent_id}/revoke", name="revoke_any_agent_form")
async def revoke(
    request: Request, agent_id: Id, caller: Keeper, session: Transaction, settings: AppSettings
) -> Response:
    """End an agent."""
    await revoke_agent(agent_id, caller, session, settings)
    return go(request, HERE, N_("The workstation can do nothing any more."))


async def _agents(
    request: Request, caller: Caller, state: State, paging: Paging, **again: Any
) -> Response:
    wanted = request.query_params.get("state", "")
    person = request.query_params.get("person", "")[:36]
    async with transaction(state.reads) as session:
        seen = await version_of(session, caller, "workstations")
        only: AgentState | None = next((one for one in STATES if one == wanted), None)
        found = await show_agents(caller, session, state.settings, paging, person, only)
        sees_people = person and grants(caller, Permission.SEE_PEOPLE)
        of = await show_person(person, caller, session) if sees_people else None
    return page(
        request,
        "admin/agents.html",
        agents=found,
        states=STATES,
        wanted=only,
        of=of,
        keeps=bool(grants(caller, Permission.MANAGE_AGENTS)),
        manages_people=bool(grants(caller, Permission.MANAGE_PEOPLE)),
        seen=seen,
        **again,
    )
