"""The way in and out: the first page, signing in, signing out, changing the password."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from api import session as door
from api.auth import anybody, may, signed_in
from api.authorize import Caller, Permission, grants
from api.by_provider import farewell_to
from api.problems import Problem, invalid
from api.routing import GuardedRoute, Reading, Transaction
from api.state import Everything
from api.web.half_way import half_way, the_other_half
from api.web.render import go, local, menu_of, page
from api.web.ways import not_in, ways_of
from cardflow.db.register_health import any_policy
from cardflow.db.register_health import anybody as anybody_registered

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]
Text = Annotated[str, Form(max_length=200)]
Half = Annotated[str, Form(max_length=4000)]
Next = Annotated[str, Form(max_length=500)]


@router.get("/", name="first_page")
async def first_page(caller: Owner, request: Request, session: Reading) -> Response:
    """Send people on to where their work is; in an empty installation, to the first steps."""
    if grants(caller, Permission.MANAGE_POLICIES) and not await any_policy(session):
        return go(request, "/welcome")
    links = menu_of(caller)
    return go(request, links[0].path if links else "/account")


@router.get("/sign-in", dependencies=[Depends(anybody)], name="sign_in_page")
async def sign_in_page(
    request: Request, session: Reading, state: Everything, next: str = "/", again: bool = False
) -> Response:
    """Return the page that asks who it is; ``again``: also of whoever is signed in."""
    try:
        known = bool(await signed_in(request))
    except Problem:
        known = False
    if known and not again:
        return go(request, local(next))
    empty, ways = not await anybody_registered(session), ways_of(state)
    return page(request, "sign_in.html", next=local(next), empty=empty, ways=ways)


@router.post("/sign-in", dependencies=[Depends(anybody)], name="sign_in_form")
async def sign_in(
    request: Request, state: Everything, login: Text = "", password: Text = "", next: Next = "/"
) -> Response:
    """Sign in and go where the person wanted to go."""
    answer = go(request, local(next))
    try:
        credentials = door.Credentials(login=login, password=password)
        await door.sign_in(credentials, request, answer, state)
    except Problem as problem:
        if problem.slug == door.CODE_NEEDED:
            return _asks_for_code(request, half_way(state, credentials), next)
        return not_in(request, state, problem, next, login=login)
    return answer


@router.post("/sign-in/code", dependencies=[Depends(anybody)], name="sign_in_code_form")
async def sign_in_with_code(
    request: Request, state: Everything, half: Half = "", code: Text = "", next: Next = "/"
) -> Response:
    """Go on from a right password with a one-time code."""
    answer = go(request, local(next))
    try:
        credentials = the_other_half(state, half, code)
        await door.sign_in(credentials, request, answer, state)
    except Problem as problem:
        if problem.slug not in (door.CODE_NEEDED, door.CODE_WRONG):
            return not_in(request, state, problem, next)
        return _asks_for_code(request, half, next, problem=problem)
    return answer


def _asks_for_code(
    request: Request, half: str, next: str, problem: Problem | None = None
) -> Response:
    return page(
        request, "sign_in_code.html", status=401, problem=problem, half=half, next=local(next)
    )


@router.post("/sign-out", name="sign_out_form")
async def sign_out(
    request: Request, caller: Owner, state: Everything, session: Transaction
) -> Response:
    """Sign out here, and at the provider where the person signed in there."""
    farewell = await farewell_to(caller, state)
    answer: Response = go(request, "/sign-in", "You are signed out.")
    if farewell:
        request.state.caller = None
        # No redirect: a form's answer must not lead elsewhere (CSP form-action).
        answer = page(request, "leaving.html", there=farewell, ways=ways_of(state))
    await door.sign_out(caller, answer, session, state.settings)
    return answer


@router.get("/account/password", name="password_page")
async def password_page(request: Request, _caller: Owner, next: str = "/") -> Response:
    """Return the page on which a password is changed."""
    return page(request, "password.html", next=local(next))


@router.post("/account/password", name="password_form")
async def change_password(
    *,
    request: Request,
    caller: Owner,
    state: Everything,
    old: Text = "",
    new: Text = "",
    again: Text = "",
    next: Next = "/",
) -> Response:
    """Change one's own password."""
    try:
        if new != again:
            raise invalid("again", "the two new passwords differ", "type the same one twice")
        change = door.PasswordChange(old=old, new=new)
        await door.change_my_password(change, caller, request, state)
    except Problem as problem:
        return page(request, "password.html", problem=problem, next=local(next))
    return go(request, local(next), "Your password is changed. Your other sign-ins have ended.")
