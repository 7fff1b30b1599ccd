"""My one-time codes: setting them up with a QR code, recovery codes, and doing without again."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from markupsafe import Markup

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.problems import NOT_DONE, invalid
from api.second_factor import (
    CodeIn,
    begin_factor,
    confirm_factor,
    make_recovery_codes,
    remove_own_factor,
    setup_under_way,
    show_factor,
)
from api.state import Everything, State
from api.web.forms import shown_again
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.documents import qr
from cardflow.sql import transaction

HERE = "/account/codes"

router = APIRouter(prefix=HERE, route_class=PageRoute, include_in_schema=False)

Owner = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT))]
Prover = Annotated[Caller, Depends(may(Permission.OWN_ACCOUNT, Proof.IN_PERSON))]


@router.get("", name="codes_page")
async def codes_page(request: Request, caller: Owner, state: Everything) -> Response:
    """Return where one's one-time codes stand."""
    return await _codes(request, caller, state)


@router.post("", name="begin_codes_form")
async def begin(request: Request, caller: Prover, state: Everything) -> Response:
    """Make a secret and show it as a QR code."""
    try:
        async with transaction(state.sessions) as session:
            await begin_factor(caller, session, state.keys, state.settings)
    except NOT_DONE as error:
        return await _codes(request, caller, state, **shown_again(error, ""))
    return await _codes(request, caller, state)


@router.post("/confirm", name="confirm_codes_form")
async def confirm(
    request: Request, caller: Prover, state: Everything, code: Annotated[str, Form()] = ""
) -> Response:
    """Have the codes count; the recovery codes stand on this answer and nowhere else."""
    try:
        if not code.strip():
            raise invalid("code", "type the code that the app shows now")
        async with transaction(state.sessions) as session:
            given = CodeIn(code=code.strip()[:20])
            made = await confirm_factor(given, caller, session, state.keys, state.settings)
    except NOT_DONE as error:
        return await _codes(request, caller, state, **shown_again(error, ""))
    return await _codes(request, caller, state, made=made.codes)


@router.post("/recovery", name="recovery_codes_form")
async def renew(request: Request, caller: Prover, state: Everything) -> Response:
    """Make new recovery codes; they stand on this answer and nowhere else."""
    try:
        async with transaction(state.sessions) as session:
            made = await make_recovery_codes(caller, session)
    except NOT_DONE as error:
        return await _codes(request, caller, state, **shown_again(error, ""))
    return await _codes(request, caller, state, made=made.codes)


@router.post("/remove", name="remove_codes_form")
async def remove(request: Request, caller: Prover, state: Everything) -> Response:
    """Sign in by password alone again."""
    try:
        async with transaction(state.sessions) as session:
            await remove_own_factor(caller, session, state.settings)
    except NOT_DONE as error:
        return await _codes(request, caller, state, **shown_again(error, ""))
    return go(request, HERE, N_("Your sign-ins need no one-time code any more."))


async def _codes(request: Request, caller: Caller, state: State, **more: Any) -> Response:
    async with transaction(state.reads) as session:
        factor = await show_factor(caller, session, state.settings)
        setup = None
        if not caller.by_api_token:  # a secret is shown to people only
            setup = await setup_under_way(session, caller, state.keys.sealing, state.settings)
    drawing = Markup(qr.svg(setup.uri)) if setup else ""  # noqa: S704 # allowed: markup-from-data: our own drawing
    return page(request, "codes.html", factor=factor, setup=setup, drawing=drawing, **more)
