"""Update card contents: choose, see what would happen, confirm; and revoke and clear the card."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.card_updates import (
    ClearIn,
    Digest,
    ProfileName,
    UpdateIn,
    clear_card,
    show_clearing,
    show_plan,
    start_update,
)
from api.cards import show_card
from api.problems import NOT_DONE, invalid
from api.shapes import Id
from api.state import Everything, State
from api.web.forms import FormKey, LongText, shown_again
from api.web.live import version_of
from api.web.my_cards import place_of
from api.web.one_update import MODES
from api.web.render import go, page
from api.web.step_up import PageRoute
from cardflow.policy import Selection
from cardflow.sql import transaction

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Opener = Annotated[Caller, Depends(may(Permission.OPEN_UPDATE))]
Clearer = Annotated[Caller, Depends(may(Permission.CLEAR_CARD))]
Optional = Annotated[list[ProfileName], Query(max_length=50)]
ThirdParty = Annotated[list[Digest], Query(max_length=200)]
OptionalForm = Annotated[list[ProfileName], Form(max_length=50)]
ThirdPartyForm = Annotated[list[Digest], Form(max_length=200)]
LONGEST_REASON = 1_000


@router.get("/cards/{card_id}/update", name="update_card_page")
async def update_page(
    *,
    request: Request,
    card_id: Id,
    caller: Opener,
    state: Everything,
    optional: Optional = [],  # noqa: B006 FastAPI copies it
    third_party: ThirdParty = [],  # noqa: B006 FastAPI copies it
) -> Response:
    """Return what an update of the card would do, with the choices made so far."""
    chosen = Selection(tuple(optional), tuple(third_party))
    return await _update_page(request, caller, state, card_id, chosen)


@router.post("/cards/{card_id}/update", name="update_card_form")
async def update_card(
    *,
    request: Request,
    card_id: Id,
    caller: Opener,
    state: Everything,
    optional: OptionalForm = [],  # noqa: B006 FastAPI copies it
    third_party: ThirdPartyForm = [],  # noqa: B006 FastAPI copies it
    plan_digest: Annotated[Digest, Form()],
    key: FormKey = "",
) -> Response:
    """Open the update that was confirmed and show it."""
    try:
        confirmed = UpdateIn(optional=optional, third_party=third_party, plan_digest=plan_digest)
        opened = await start_update(card_id, confirmed, caller, state, key or None)
    except NOT_DONE as error:
        chosen = Selection(tuple(optional), tuple(third_party))
        again = shown_again(error, key)
        return await _update_page(request, caller, state, card_id, chosen, **again)
    return go(request, f"/updates/{opened.id}")


async def _update_page(
    request: Request,
    caller: Caller,
    state: State,
    card_id: str,
    chosen: Selection,
    **again: Any,
) -> Response:
    async with transaction(state.reads) as session:
        seen = await version_of(session, caller, f"card:{card_id}")
        card = await show_card(card_id, caller, session)
        place = await place_of(session, card.holder_id, card.token_serial)
        offer = await show_plan(
            card_id=card_id,
            caller=caller,
            session=session,
            state=state,
            optional=list(chosen.optional),
            third_party=list(chosen.third_party),
        )
    return page(
        request,
        "holder/update_card.html",
        card=card,
        place=place,
        offer=offer,
        mode_words=MODES,
        seen=seen,
        **again,
    )


@router.get("/cards/{card_id}/clear", name="clear_card_page")
async def clear_page(request: Request, card_id: Id, caller: Clearer, state: Everything) -> Response:
    """Return what revoking and clearing the card means, and the form that orders it."""
    return await _clear_page(request, caller, state, card_id)


@router.post(
    "/cards/{card_id}/clear",
    name="clear_card_form",
    dependencies=[Depends(may(Permission.CLEAR_CARD, Proof.FRESH))],
)
async def clear(
    *,
    request: Request,
    card_id: Id,
    caller: Clearer,
    state: Everything,
    reason: LongText = "",
    confirm: Annotated[str, Form(max_length=200)] = "",
    key: FormKey = "",
) -> Response:
    """Order the revoking and clearing and show it."""
    try:
        opened = await clear_card(card_id, _order(reason, confirm), caller, state, key or None)
    except NOT_DONE as error:
        again = shown_again(error, key, reason=reason, confirm=confirm)
        return await _clear_page(request, caller, state, card_id, **again)
    return go(request, f"/updates/{opened.id}")


def _order(reason: str, confirm: str) -> ClearIn:
    if not reason.strip():
        raise invalid("reason", "say why the card is to be cleared")
    if len(reason) > LONGEST_REASON:
        raise invalid("reason", "this is too long", "use at most 1000 characters")
    return ClearIn(reason=reason, confirm=confirm.strip()[:64])


async def _clear_page(
    request: Request, caller: Caller, state: State, card_id: str, **again: Any
) -> Response:
    async with transaction(state.reads) as session:
        seen = await version_of(session, caller, f"card:{card_id}")
        card = await show_card(card_id, caller, session)
        place = await place_of(session, card.holder_id, card.token_serial)
        goes = await show_clearing(card_id, caller, session, state)
    return page(
        request, "holder/clear_card.html", card=card, place=place, goes=goes, seen=seen, **again
    )
