"""A form of weight from somebody who signed in a while ago: they confirm, and it goes on.

The small page between carries the whole form along, and sends it where it was going: no word that
was typed is lost, nothing is kept on the server, and no script is needed.
"""

from dataclasses import replace

from fastapi import Request, Response
from starlette.datastructures import FormData, UploadFile

from api import session as door
from api.auth import FRESH_NEEDED, signed_in, token_digest
from api.authorize import Caller
from api.problems import Problem, invalid
from api.routing import GuardedRoute, ReadOneWay, Take
from api.state import State, state_of
from api.web.render import page
from api.web.ways import way_again
from cardflow.db.register_factors import confirmed_factor
from cardflow.db.register_identity import find_person
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.sql import transaction

PASSWORD, CODE = "confirm_password", "confirm_code"
OURS = (PASSWORD, CODE, "confirm_login")


class PageRoute(GuardedRoute):
    """A guarded route whose form waits until whoever sent it has confirmed who they are."""

    def _guarded(self, take: Take) -> Take:
        async def guarded(request: Request) -> Response:
            request = ReadOneWay(request.scope, request.receive)
            try:
                await self.check(request)
            except Problem as problem:
                if problem.slug != FRESH_NEEDED or request.method != "POST":
                    raise
                return await _confirmed(request, take, problem)
            return await take(request)

        return guarded


async def _confirmed(request: Request, take: Take, asked: Problem) -> Response:
    """Return the form's answer if a right password came with it, else the page that asks for it."""
    form, caller, state = await request.form(), await signed_in(request), state_of(request)
    proof = Response()
    if PASSWORD not in form:
        return await _asking(request, form, caller, asked)
    try:
        typed = door.ProofIn(password=_text(form, PASSWORD), code=_text(form, CODE))
        renewed = await door.confirm_sign_in(typed, caller, request, proof, state)
    except ValueError:
        wrong = invalid("password", "it cannot be as long as this")
        return await _asking(request, form, caller, asked, wrong)
    except Problem as problem:
        return await _asking(request, form, caller, asked, problem)
    fresh = replace(caller, token_sha256=token_digest(renewed.token), authenticated_at=utc_now())
    request.state.caller = fresh
    answer = await take(request)
    answer.raw_headers.extend(pair for pair in proof.raw_headers if pair[0] == b"set-cookie")
    return answer


async def _asking(
    request: Request, form: FormData, caller: Caller, asked: Problem, problem: Problem | None = None
) -> Response:
    state = state_of(request)
    async with transaction(state.reads) as session:
        person = await find_person(session, caller.id)
        has_codes = await confirmed_factor(session, caller.id) is not None
    answer = page(
        request,
        "step_up.html",
        status=asked.status,
        problem=problem,
        fields=[(name, value) for name, value in form.multi_items() if _is_kept(name, value)],
        action=f"{request.url.path}?{request.url.query}".rstrip("?"),
        elsewhere=_elsewhere(state, caller, person),
        has_codes=has_codes,
        minutes=state.settings.fresh_minutes,
    )
    answer.headers.update(asked.headers)
    return answer


def _elsewhere(state: State, caller: Caller, person: Person | None) -> str:
    """Return where somebody proves who they are who has no password here; else nothing."""
    if there := way_again(caller.way, state.settings, "/account"):
        return there
    return "" if person and person.password_hash else "/sign-in?again=true"


def _is_kept(name: str, value: str | UploadFile) -> bool:
    return name not in OURS and isinstance(value, str)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
