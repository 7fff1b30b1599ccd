"""One's own API tokens: for services and scripts that work in one's name."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.problems import NOT_DONE
from api.routing import Transaction
from api.shapes import Id
from api.state import Everything, State
from api.tokens import TokenIn, make_token, revoke_token, show_tokens
from api.web.filling import filled, number
from api.web.forms import shown_again
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.sql import transaction

HERE = "/tokens"

router = APIRouter(prefix=HERE, route_class=PageRoute, include_in_schema=False)

Owner = Annotated[Caller, Depends(may(Permission.OWN_TOKENS))]


@router.get("", name="tokens_page")
async def tokens_page(request: Request, caller: Owner, state: Everything) -> Response:
    """Return one's own tokens."""
    return await _tokens(request, caller, state)


@router.post(
    "", name="make_token_form", dependencies=[Depends(may(Permission.OWN_TOKENS, Proof.IN_PERSON))]
)
async def make(request: Request, caller: Owner, state: Everything) -> Response:
    """Make a token; its secret stands on this answer and nowhere else."""
    async with request.form() as form:
        typed = {name: str(form.get(name, "")).strip() for name in ("name", "days")}
        roles = [str(role) for role in form.getlist("roles")]
    try:
        async with transaction(state.sessions) as session:
            made = await make_token(
                filled(TokenIn, {**typed, "days": number(typed["days"]), "roles": roles}),
                caller,
                session,
            )
    except NOT_DONE as error:
        return await _tokens(request, caller, state, **shown_again(error, "", **typed, roles=roles))
    return await _tokens(request, caller, state, made=made)


@router.post("/{token_id}/revoke", name="revoke_token_form")
async def revoke(request: Request, token_id: Id, caller: Owner, session: Transaction) -> Response:
    """End a token."""
    await revoke_token(token_id, caller, session)
    return go(request, HERE, N_("The token opens nothing any more."))


async def _tokens(request: Request, caller: Caller, state: State, **more: Any) -> Response:
    async with transaction(state.reads) as session:
        found = (await show_tokens(caller, session)).items
    return page(request, "admin/tokens.html", tokens=found, roles=sorted(caller.roles), **more)
