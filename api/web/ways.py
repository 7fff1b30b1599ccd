"""The other ways in: at the OpenID provider, and with the card itself."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request, Response

from api.auth import anybody, is_https, signed_in
from api.back_channel import end_what_is_over
from api.by_card import holder_of_card
from api.by_provider import PENDING_SECONDS, SOMEBODY_ELSE, arrive, set_out
from api.problems import NOT_DONE, Problem, problem_of
from api.routing import GuardedRoute
from api.session import open_for
from api.state import Everything, State
from api.web.render import go, local, page
from cardflow.settings import Settings

router = APIRouter(
    prefix="/sign-in",
    route_class=GuardedRoute,
    include_in_schema=False,
    dependencies=[Depends(anybody)],
)


@dataclass(frozen=True)
class Ways:
    """What the sign-in page offers; what is empty is not offered."""

    passwords: bool
    provider: str
    card: str


def ways_of(state: State) -> Ways:
    """Return the ways in which people sign in here."""
    settings = state.settings
    card = "" if settings.card_sign_in == "off" else f"{settings.card_sign_in_url}/sign-in/card"
    return Ways(settings.local_accounts, state.provider.name if state.provider else "", card)


def way_again(way: str, settings: Settings, next: str) -> str:
    """Return where somebody who came in this way proves anew who they are; empty: by password."""
    told = f"?again=true&next={quote(next)}"
    if way == "provider":
        return f"/sign-in/provider{told}"
    return f"{settings.card_sign_in_url}/sign-in/card{told}" if way == "card" else ""


def not_in(request: Request, state: State, problem: Problem, next: str, **given: str) -> Response:
    """Return the sign-in page, which says why somebody is not let in."""
    there = local(next)
    return page(
        request, "sign_in.html", problem=problem, given=given, next=there, ways=ways_of(state)
    )


def asking(request: Request, state: State, next: str, *, empty: bool = False) -> Response:
    """Return the sign-in page."""
    there = local(next)
    return page(request, "sign_in.html", next=there, ways=ways_of(state), empty=empty)


def _from_elsewhere(request: Request, settings: Settings) -> bool:
    """Tell whether another site brought the browser here: then nobody is signed in unasked.

    A demo's pages by plain HTTP are another site to its own HTTPS port.
    """
    return is_https(settings) and request.headers.get("sec-fetch-site") == "cross-site"


@router.get("/provider", name="provider_begins")
async def begin(
    request: Request, state: Everything, next: str = "/", again: bool = False
) -> Response:
    """Send the browser to the provider; ``again``: the person signs in there anew."""
    if _from_elsewhere(request, state.settings):
        return asking(request, state, next)
    caller = await signed_in(request) if again else None
    try:
        address, carried = await set_out(state, local(next), caller.id if caller else "")
    except NOT_DONE as error:
        return not_in(request, state, problem_of(error), next)
    answer = go(request, address)
    answer.set_cookie(
        cookie_of(state.settings),
        carried,
        max_age=PENDING_SECONDS,
        secure=is_https(state.settings),
        httponly=True,
        samesite="lax",  # it must come along when the provider sends the browser back
    )
    return answer


@router.get("/provider/answer", name="provider_answers")
async def finish(request: Request, state: Everything) -> Response:
    """Sign in whom the provider vouches for, and go where the person wanted to go."""
    name = cookie_of(state.settings)
    try:
        came = await arrive(state, request.cookies.get(name, ""), dict(request.query_params))
        answer: Response = go(request, local(came.next))
        await open_for(came.person, request, answer, state, came.opening)
    except NOT_DONE as error:
        answer = not_in(request, state, problem_of(error), "/")
    answer.delete_cookie(name, path="/", secure=is_https(state.settings), httponly=True)
    return answer


@router.post("/provider/logout", name="provider_ends")
async def end(
    state: Everything, logout_token: Annotated[str, Form(max_length=20_000)] = ""
) -> Response:
    """End the sign-ins that the provider says are over (back-channel logout)."""
    await end_what_is_over(state, logout_token)
    return Response(status_code=200)


@router.get("/card", name="card_signs_in")
async def by_card(
    request: Request, state: Everything, next: str = "/", again: bool = False
) -> Response:
    """Sign in the holder of the card whose certificate TLS was shown."""
    if _from_elsewhere(request, state.settings):
        return asking(request, state, next)
    try:
        person, opening = await holder_of_card(request, state)
        if again and (await signed_in(request)).id != person.id:
            raise Problem(403, SOMEBODY_ELSE, slug="card-refused")
        # Back to where TLS asks for no certificate.
        answer = go(request, state.settings.public_url + local(next))
        await open_for(person, request, answer, state, opening)
    except NOT_DONE as error:
        return not_in(request, state, problem_of(error), next)
    return answer


def cookie_of(settings: Settings) -> str:
    """Return the name of the cookie that goes to the provider and back."""
    return "__Host-cardflow-sign-in" if is_https(settings) else "cardflow-sign-in"
