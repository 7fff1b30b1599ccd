"""My account: language, time zone, where I am signed in, and my workstations' agents."""

from dataclasses import replace
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Depends, Form, Request, Response

from api.account import end_other_sign_ins, end_sign_in, show_sign_ins
from api.agent_admin import (
    AgentOut,
    CodeIn,
    WordsIn,
    confirm_agent,
    make_code,
    revoke_agent,
    show_agents,
)
from api.auth import Proof, may
from api.authorize import Caller, Permission, grants
from api.paging import Page, Paging
from api.problems import NOT_DONE, invalid
from api.routing import Transaction
from api.session import MePatch, change_me, show_me
from api.shapes import Id, MailDigest
from api.state import AppSettings, Everything, State
from api.web.forms import shown_again
from api.web.live import version_of
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_, languages
from cardflow.sql import transaction

HERE = "/account"
NAMES = {"en": "English", "de": "Deutsch", "ar": "العربية"}
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
            ("Safari/", "Safari"), ("curl/", "curl"))  # fmt: skip
SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"), ("Windows", "Windows"),
           ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]
Keeper = Annotated[Caller, Depends(may(Permission.MANAGE_AGENTS))]
ENDING = [Depends(may(Permission.OWN_ACCOUNT, Proof.FRESH))]
Word = Annotated[str, Form(max_length=64)]


@router.get("/account", name="account_page")
async def account_page(request: Request, caller: Owner, state: Everything) -> Response:
    """Return the person's own account."""
    return await _account(request, caller, state)


@router.post("/account", name="account_form")
async def change_account(
    *,
    request: Request,
    caller: Owner,
    state: Everything,
    language: Word = "",
    time_zone: Word = "",
    mail_digest: Annotated[MailDigest | None, Form()] = None,
) -> Response:
    """Change one's own language and time zone, and how often mail comes."""
    try:
        changes = _settings(language, time_zone, mail_digest)
        async with transaction(state.sessions) as session:
            await change_me(changes, caller, session)
    except NOT_DONE as error:
        typed = {"language": language, "time_zone": time_zone, "mail_digest": mail_digest}
        again = shown_again(error, "", **typed)
        return await _account(request, caller, state, **again)
    # The answer speaks the new language already.
    request.state.caller = replace(caller, language=language, time_zone=time_zone)
    request.state.tongue = None
    return go(request, HERE, N_("Your settings are kept."))


def _settings(language: str, time_zone: str, mail_digest: MailDigest | None) -> MePatch:
    if language not in languages():
        raise invalid("language", "these pages do not speak it")
    if time_zone and time_zone not in available_timezones():
        raise invalid("time_zone", "there is no such time zone")
    return MePatch(language=language, time_zone=time_zone, mail_digest=mail_digest)


@router.post("/account/sessions/{sign_in_id}/end", name="end_sign_in_form", dependencies=ENDING)
async def end_one(
    request: Request, sign_in_id: Id, caller: Owner, session: Transaction, settings: AppSettings
) -> Response:
    """End one of one's own sign-ins."""
    await end_sign_in(sign_in_id, caller, session, settings)
    return go(request, HERE, N_("The sign-in has ended."))


@router.post("/account/sessions/end-others", name="end_others_form", dependencies=ENDING)
async def end_others(request: Request, caller: Owner, session: Transaction) -> Response:
    """End every other sign-in of one's own."""
    await end_other_sign_ins(caller, session)
    return go(request, HERE, N_("Your other sign-ins have ended."))


@router.post("/account/agents/codes", name="agent_code_form")
async def new_code(request: Request, caller: Keeper, state: Everything) -> Response:
    """Make an enrolment code; it is shown on this answer and never again."""
    async with transaction(state.sessions) as session:
        code = await make_code(CodeIn(), caller, session)
    return await _account(request, caller, state, code=code)


@router.post(
    "/account/agents/{agent_id}/confirm",
    name="confirm_agent_form",
    dependencies=[Depends(may(Permission.MANAGE_AGENTS, Proof.IN_PERSON))],
)
async def confirm(
    *, request: Request, agent_id: Id, caller: Keeper, state: Everything,
    words: Annotated[str, Form(max_length=200)] = "",
) -> Response:  # fmt: skip
    """Confirm a workstation by its words."""
    try:
        async with transaction(state.sessions) as session:
            done = await confirm_agent(
                agent_id, WordsIn(words=words), caller, session, state.settings
            )
    except NOT_DONE as error:
        again = shown_again(error, "", words=words, agent=agent_id)
        return await _account(request, caller, state, **again)
    return go(request, HERE, confirmed(done))


@router.post("/account/agents/{agent_id}/revoke", name="revoke_agent_form")
async def revoke(
    request: Request, agent_id: Id, caller: Keeper, session: Transaction, settings: AppSettings
) -> Response:
    """End a workstation's agent."""
    await revoke_agent(agent_id, caller, session, settings)
    return go(request, HERE, N_("The workstation can do nothing any more."))


def confirmed(agent: AgentOut) -> str:
    """Return what is said after a confirmation."""
    if agent.state == "compared":
        return N_("You have confirmed the workstation. An administrator must confirm it too.")
    return N_("The workstation is confirmed.")


async def _account(
    request: Request, caller: Caller, state: State, code: object = None, **again: Any
) -> Response:
    async with transaction(state.reads) as session:
        seen = await version_of(session, caller, "agents")
        person = await show_me(caller, session)
        sign_ins = (await show_sign_ins(caller, session, state.settings)).items
        agents: Page[AgentOut] = Page(items=[])
        if grants(caller, Permission.MANAGE_AGENTS):
            agents = await show_agents(
                caller, session, state.settings, Paging(limit=200), caller.id
            )
    return page(
        request,
        "holder/account.html",
        person=person,
        sign_ins=[(one, browser(one.user_agent)) for one in sign_ins],
        agents=[agent for agent in agents.items if agent.state != "revoked"],
        keeps_agents=bool(grants(caller, Permission.MANAGE_AGENTS)),
        code=code,
        seen=seen,
        zones=zones(),
        language_names=NAMES,
        **again,
    )


@cache
def zones() -> list[str]:
    """Return the time zones that people live in."""
    return sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")


def browser(user_agent: str) -> str:
    """Return what a person would call the browser: its name and its system."""
    found = [
        next((name for sign, name in signs if sign in user_agent), "")
        for signs in (BROWSERS, SYSTEMS)
    ]
    return " · ".join(name for name in found if name)
