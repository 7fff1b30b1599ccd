"""People: the list, one to add, one to change, and what an administrator can do for one."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from api.agent_admin import CodeIn, make_code, show_agents
from api.auth import Proof, may
from api.authorize import Caller, Permission, grants
from api.cards import Wanted as WantedCards
from api.cards import show_cards
from api.identities import IdentityIn, remove_identity, set_identity
from api.paging import Paging
from api.people import (
    PersonIn,
    PersonPatch,
    Wanted,
    add_person,
    change_person,
    show_people,
    show_person,
)
from api.problems import NOT_DONE, Problem, invalid, problem_of
from api.routing import Reading, Transaction
from api.second_factor import reset_factor
from api.session import PasswordIn, end_sign_ins_of, give_password, show_sign_ins_of
from api.shapes import Id
from api.state import Everything
from api.web.account import NAMES, browser, zones
from api.web.filling import filled
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.db.register_identity import find_person, person_by_login
from cardflow.db.register_sign_in import identity_of
from cardflow.model import Role
from cardflow.sql import transaction

SOME = Paging(limit=20)
TEXTS = (
    "login", "name", "given_name", "surname", "email", "upn", "sid", "organization", "language",
    "time_zone", "mail_digest",
)  # fmt: skip
Typed = dict[str, Any]
Work = Callable[[AsyncSession], Awaitable[None]]
FRESH: Typed = {
    **dict.fromkeys(TEXTS, ""),
    "language": "en",
    "mail_digest": "off",
    "roles": [Role.HOLDER],
}

router = APIRouter(prefix="/people", route_class=PageRoute, include_in_schema=False)

Reader = Annotated[Caller, Depends(may(Permission.SEE_PEOPLE))]
Admin = Annotated[Caller, Depends(may(Permission.MANAGE_PEOPLE))]
CHANGING = [Depends(may(Permission.MANAGE_PEOPLE, Proof.FRESH))]
Part = Annotated[Paging, Depends()]


@router.get("", name="people_page")
async def people_page(request: Request, caller: Reader, session: Reading, paging: Part) -> Response:
    """Return the list of people."""
    wanted = _wanted(request)
    found = await show_people(caller, session, paging, wanted)
    manages = bool(grants(caller, Permission.MANAGE_PEOPLE))
    return page(
        request, "people/list.html", people=found, wanted=wanted, roles=list(Role), manages=manages
    )


# No id is "-", so this address is nobody's.
@router.get("/-/new", name="new_person_page")
async def new_page(request: Request, _caller: Admin) -> Response:
    """Return the form for a person to register."""
    return _form(request, FRESH)


@router.post(
    "/-/new",
    name="new_person_form",
    dependencies=CHANGING,
)
async def add(request: Request, caller: Admin, session: Transaction) -> Response:
    """Register a person."""
    typed = await _typed(request)
    try:
        person = await add_person(filled(PersonIn, typed), caller, session)
    except NOT_DONE as error:
        return _form(request, typed, problem=problem_of(error))
    return go(request, f"/people/{person.id}/edit", N_("The person is registered."))


@dataclass(frozen=True)
class Desk:
    """An administrator with one person before them."""

    request: Request
    person_id: Id
    caller: Admin
    state: Everything

    async def done(self, work: Work, notice: str, typed: Typed | None = None) -> Response:
        """Carry a form out; a refusal is shown where it was asked, with what was typed."""
        try:
            async with transaction(self.state.sessions) as session:
                await work(session)
        except NOT_DONE as error:
            return await self.shown(typed, problem=problem_of(error))
        return go(self.request, f"/people/{self.person_id}/edit", notice)

    async def shown(self, typed: Typed | None = None, **more: Any) -> Response:
        """Return the person's page."""
        who, state = self.person_id, self.state
        async with transaction(state.reads) as session:
            person = await show_person(who, self.caller, session)
            cards = await show_cards(self.caller, session, SOME, WantedCards(holder=who))
            agents = await show_agents(self.caller, session, state.settings, SOME, who)
            sign_ins = await show_sign_ins_of(who, self.caller, session, state.settings)
            identity = await identity_of(session, who, state.settings.oidc_issuer or "")
            first = await find_person(session, person.same_as) if person.same_as else None
        return page(
            self.request,
            "people/edit.html",
            person={**person.model_dump(), **(typed or {})},
            cards=cards,
            agents=agents,
            identity=identity,
            first=first,
            sign_ins=[(one, browser(one.user_agent)) for one in sign_ins.items],
            **_choices(),
            **more,
        )


AtDesk = Annotated[Desk, Depends()]


@router.get("/{person_id}/edit", name="edit_person_page")
async def edit_page(desk: AtDesk) -> Response:
    """Return a person with everything that can be changed or done for them."""
    return await desk.shown()


@router.post(
    "/{person_id}/edit",
    name="edit_person_form",
    dependencies=CHANGING,
)
async def change(desk: AtDesk) -> Response:
    """Change a person's names, addresses and roles."""
    typed = await _typed(desk.request)
    del typed["login"]

    async def work(session: AsyncSession) -> None:
        await change_person(desk.person_id, filled(PersonPatch, typed), desk.caller, session)

    return await desk.done(work, N_("The changes are kept."), typed)


@router.post(
    "/{person_id}/disable",
    name="disable_person_form",
    dependencies=CHANGING,
)
async def disable(desk: AtDesk) -> Response:
    """Disable a person."""
    notice = N_("The person is disabled and signed out everywhere.")
    return await desk.done(_setting(desk, active=False), notice)


@router.post(
    "/{person_id}/enable",
    name="enable_person_form",
    dependencies=CHANGING,
)
async def enable(desk: AtDesk) -> Response:
    """Let a person in again."""
    return await desk.done(_setting(desk, active=True), N_("The person can sign in again."))


@router.post("/{person_id}/sign-out", name="sign_person_out_form")
async def sign_out(desk: AtDesk) -> Response:
    """End a person's sign-ins."""

    async def work(session: AsyncSession) -> None:
        await end_sign_ins_of(desk.person_id, desk.caller, session)

    return await desk.done(work, N_("The sign-ins have ended."))


@router.post(
    "/{person_id}/password",
    name="temporary_password_form",
    dependencies=CHANGING,
)
async def password(desk: AtDesk) -> Response:
    """Give a person a temporary password; it stands on this answer and nowhere else."""
    fresh = secrets.token_urlsafe(12)
    body = PasswordIn(password=fresh)
    state = desk.state
    await give_password(desk.person_id, body, desk.caller, state.sessions, state.settings)
    return await desk.shown(password=fresh)


@router.post("/{person_id}/codes", name="reset_codes_form", dependencies=CHANGING)
async def reset_codes(desk: AtDesk) -> Response:
    """Take away the one-time codes of somebody who lost what makes them."""
    await reset_factor(desk.person_id, desk.caller, desk.state)
    notice = N_("The person signs in by password alone and can begin anew.")
    return go(desk.request, f"/people/{desk.person_id}/edit", notice)


@router.post(
    "/{person_id}/code",
    name="person_code_form",
    dependencies=[Depends(may(Permission.MANAGE_AGENTS))],
)
async def code(desk: AtDesk) -> Response:
    """Make an enrolment code for a person's workstation; it stands on this answer only."""
    try:
        async with transaction(desk.state.sessions) as session:
            made = await make_code(CodeIn(person_id=desk.person_id), desk.caller, session)
    except NOT_DONE as error:
        return await desk.shown(problem=problem_of(error))
    return await desk.shown(code_made=made)


@router.post("/{person_id}/identity", name="identity_form", dependencies=CHANGING)
async def set_account(desk: AtDesk) -> Response:
    """Tie a person to their account at the OpenID provider."""
    form = await desk.request.form()

    async def work(session: AsyncSession) -> None:
        body = filled(IdentityIn, {"subject": str(form.get("subject", "")).strip()})
        await set_identity(desk.person_id, body, desk.caller, session, desk.state.settings)

    return await desk.done(work, N_("The person signs in with that account."))


@router.post("/{person_id}/identity/untie", name="untie_identity_form", dependencies=CHANGING)
async def untie_account(desk: AtDesk) -> Response:
    """Untie a person's account at the OpenID provider."""

    async def work(session: AsyncSession) -> None:
        await remove_identity(desk.person_id, desk.caller, session, desk.state.settings)

    return await desk.done(work, N_("The account is untied."))


@router.post("/{person_id}/same-as", name="second_account_form", dependencies=CHANGING)
async def set_first_account(desk: AtDesk) -> Response:
    """Say whose second account this is, by the login of the first; empty: nobody's."""
    login = str((await desk.request.form()).get("login", "")).strip()

    async def work(session: AsyncSession) -> None:
        first = await person_by_login(session, login) if login else None
        if login and first is None:
            raise invalid("login", "nobody has this login")
        patch = PersonPatch(same_as=first.id if first else "")
        await change_person(desk.person_id, patch, desk.caller, session)

    notice = N_("Both accounts are one person now.") if login else N_("The account stands alone.")
    return await desk.done(work, notice, {"login_of_first": login})


def _setting(desk: Desk, *, active: bool) -> Work:
    async def work(session: AsyncSession) -> None:
        await change_person(desk.person_id, PersonPatch(active=active), desk.caller, session)

    return work


def _wanted(request: Request) -> Wanted:
    """Return what the list is narrowed to; a choice that there is none of narrows nothing."""
    query = request.query_params
    role = query.get("role", "")
    return Wanted(
        search=query.get("search", "").strip()[:100],
        role=Role(role) if role in list(Role) else None,
        active={"yes": True, "no": False}.get(query.get("active", "")),
    )


async def _typed(request: Request) -> Typed:
    form: FormData = await request.form()
    texts = {name: str(form.get(name, "")).strip() for name in TEXTS}
    return {**texts, "roles": [str(role) for role in form.getlist("roles")]}


def _form(request: Request, typed: Typed, *, problem: Problem | None = None) -> Response:
    return page(request, "people/new.html", person=typed, problem=problem, **_choices())


def _choices() -> dict[str, Any]:
    return {"all_roles": list(Role), "zones": zones(), "language_names": NAMES}
