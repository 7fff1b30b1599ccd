"""A card that is lost: what reporting it does, and the button that does it, for whoever may."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.auth import Proof, may
from api.authorize import Caller, Permission, authorize
from api.lost_cards import LossIn, report_lost
from api.planning import registered_card
from api.problems import NOT_DONE
from api.shapes import Id
from api.state import Everything, State
from api.web.filling import filled
from api.web.forms import FormKey, LongText, shown_again
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.db.register_cards import unrevoked_on
from cardflow.db.register_identity import find_person
from cardflow.db.register_updates import open_update_on
from cardflow.decisions import utc_now
from cardflow.sql import transaction

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Reporter = Annotated[Caller, Depends(may(Permission.REPORT_LOST))]


@router.get("/cards/{card_id}/lost", name="lost_card_page")
async def lost_page(request: Request, card_id: Id, caller: Reporter, state: Everything) -> Response:
    """Return what reporting the card lost does, and the form that does it."""
    return await _page(request, caller, state, card_id)


@router.post(
    "/cards/{card_id}/lost",
    name="lost_card_form",
    dependencies=[Depends(may(Permission.REPORT_LOST, Proof.FRESH))],
)
async def report(
    *,
    request: Request,
    card_id: Id,
    caller: Reporter,
    state: Everything,
    reason: LongText = "",
    key: FormKey = "",
) -> Response:
    """Report the card lost and show it."""
    try:
        body = filled(LossIn, {"reason": reason.strip()})
        await report_lost(card_id, body, caller, state, key or None)
    except NOT_DONE as error:
        return await _page(
            request, caller, state, card_id, **shown_again(error, key, reason=reason)
        )
    notice = N_("The card is blocked, and its certificates are being revoked.")
    return go(request, f"/cards/{card_id}", notice)


async def _page(
    request: Request, caller: Caller, state: State, card_id: str, **again: Any
) -> Response:
    async with transaction(state.reads) as session:
        card = await registered_card(session, card_id)
        authorize(caller, Permission.REPORT_LOST, card)
        holder = await find_person(session, card.holder_id) if card.holder_id else None
        update = await open_update_on(session, card_id)
        certificates = len(await unrevoked_on(session, card_id, now=utc_now()))
    return page(
        request, "holder/lost_card.html", card=card, holder=holder, update=update,
        certificates=certificates, **again,
    )  # fmt: skip
