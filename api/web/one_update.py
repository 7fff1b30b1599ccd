"""One update, for whoever may see it: where it stands, what waits, and what they may do now."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission, grants
from api.card_updates import show_plan
from api.documents import (
    DocumentOut,
    LaneName,
    hand_in_document,
    show_documents,
    show_form,
    withdraw_document,
)
from api.problems import NOT_DONE, Problem, invalid
from api.routing import GuardedRoute
from api.shapes import Id
from api.signatures import SignatureIn, sign_document
from api.state import Everything, State
from api.update_shapes import UpdateOut
from api.updates import (
    NothingIn,
    ReasonIn,
    cancel_update,
    continue_update,
    retry_update,
    show_timeline,
    show_update,
)
from api.web.forms import FormKey, LongText, shown_again
from api.web.history import told
from api.web.live import version_of
from api.web.my_cards import place_of, titles_of
from api.web.render import go, page
from api.web.tongue import N_
from cardflow.documents.store import in_words
from cardflow.model import Kind, LaneStage, Means, Mode, Stage
from cardflow.sql import let_go, looking

LONGEST_REASON = 1_000
PAUSE = 0.3  # seconds
STAGES = {
    LaneStage.PREPARING: N_("The key is still to be made on the card, at the workstation."),
    LaneStage.AWAITING_REQUEST_FORM: N_("The signed request form is awaited."),
    LaneStage.CHECKING_REQUEST_FORM: N_("An operator checks the signed request form."),
    LaneStage.AT_CA: N_("The certificate authority has the request."),
    LaneStage.CA_REJECTED: N_("The certificate authority rejected the request."),
    LaneStage.AWAITING_CERTIFICATE_FORM: N_(
        "Issued by the certificate authority, not yet on the card. "
        "The signed certificate form is awaited."
    ),
    LaneStage.CHECKING_CERTIFICATE_FORM: N_(
        "Issued by the certificate authority, not yet on the card. "
        "An operator checks the signed certificate form."
    ),
    LaneStage.READY: N_("Ready to be written to the card."),
    LaneStage.WRITTEN: N_("On the card, read back and proven."),
    LaneStage.REVOKED: N_("Revoked."),
    LaneStage.CANCELLED: N_("Cancelled; nothing of it stays on the card."),
    LaneStage.LAPSED: N_("The deadline passed; nothing of it stays on the card."),
}
MODES = {
    Mode.NONE: N_("no form to sign"),
    Mode.REQUEST_FORM: N_("a request form to sign, before the certificate is issued"),
    Mode.CERTIFICATE_FORM: N_("a certificate form to sign, after the certificate is issued"),
    Mode.BOTH: N_("a request form to sign before, and a certificate form after it is issued"),
}

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

Reader = Annotated[Caller, Depends(may(Permission.SEE_UPDATES))]
Continuer = Annotated[Caller, Depends(may(Permission.CONTINUE_UPDATE))]
Canceller = Annotated[Caller, Depends(may(Permission.CANCEL_UPDATE))]
Retrier = Annotated[Caller, Depends(may(Permission.RETRY_UPDATE))]
Printer = Annotated[Caller, Depends(may(Permission.SEE_DOCUMENTS))]
Sender = Annotated[Caller, Depends(may(Permission.SUBMIT_DOCUMENT))]
Withdrawer = Annotated[Caller, Depends(may(Permission.WITHDRAW_DOCUMENT))]


@router.get("/updates/{update_id}", name="update_page")
async def update_page(
    request: Request, update_id: Id, caller: Reader, state: Everything
) -> Response:
    """Return an update."""
    return await update_shown(request, caller, state, update_id)


@router.post("/updates/{update_id}/continue", name="continue_form")
async def continue_form(
    request: Request, update_id: Id, caller: Continuer, state: Everything, key: FormKey = ""
) -> Response:
    """Start the next visit; the page then shows its code."""
    try:
        await continue_update(update_id, NothingIn(), caller, state, key or None)
    except NOT_DONE as error:
        return await update_shown(request, caller, state, update_id, **shown_again(error, key))
    return go(request, f"/updates/{update_id}")


@router.post("/updates/{update_id}/cancel", name="cancel_form")
async def cancel_form(
    *,
    request: Request,
    update_id: Id,
    caller: Canceller,
    state: Everything,
    reason: LongText = "",
    key: FormKey = "",
) -> Response:
    """Cancel the update."""
    try:
        reply = await cancel_update(update_id, _reason(reason), caller, state, key or None)
    except NOT_DONE as error:
        again = shown_again(error, key, reason=reason)
        return await update_shown(request, caller, state, update_id, **again)
    return go(request, f"/updates/{update_id}", reply.message)


def _reason(text: str) -> ReasonIn:
    if not text.strip():
        raise invalid("reason", "say why the operation is to be cancelled")
    if len(text) > LONGEST_REASON:
        raise invalid("reason", "this is too long", "use at most 1000 characters")
    return ReasonIn(reason=text)


@router.post("/updates/{update_id}/retry", name="retry_form")
async def retry_form(
    request: Request, update_id: Id, caller: Retrier, state: Everything, key: FormKey = ""
) -> Response:
    """Order another try."""
    try:
        reply = await retry_update(update_id, NothingIn(), caller, state, key or None)
    except NOT_DONE as error:
        return await update_shown(request, caller, state, update_id, **shown_again(error, key))
    return go(request, f"/updates/{update_id}", reply.message)


@router.get("/updates/{update_id}/lanes/{lane}/form", name="form_page")
async def form_page(update_id: Id, lane: LaneName, caller: Printer, state: Everything) -> Response:
    """Return the form to print and sign; a refusal is told as a page."""
    return await show_form(update_id=update_id, lane=lane, caller=caller, state=state)


@router.post(
    "/updates/{update_id}/lanes/{lane}/documents",
    name="hand_in_form",
    form_limits={"max_files": 2, "max_fields": 6, "max_part_size": 16 * 1024},
)
async def hand_in_form(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Sender,
    state: Everything,
    file: Annotated[UploadFile | None, File()] = None,
    photo: Annotated[UploadFile | None, File()] = None,
    means: Annotated[Means | None, Form()] = None,
    note: LongText = "",
    key: FormKey = "",
) -> Response:
    """Hand in a signed form, from a file or from the camera."""
    given = next((one for one in (file, photo) if one and one.filename), None)
    try:
        done = await hand_in_document(
            update_id=update_id,
            lane=lane,
            caller=caller,
            state=state,
            key=key or None,
            file=given,
            means=means,
            note=note,
        )
    except NOT_DONE as error:
        again = shown_again(error, key, note=note, means=means or "", lane=lane)
        return await update_shown(request, caller, state, update_id, **again)
    return go(request, f"/updates/{update_id}", done.message)


@router.post("/updates/{update_id}/lanes/{lane}/signature", name="sign_form")
async def sign_form(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Continuer,
    state: Everything,
    key: FormKey = "",
) -> Response:
    """Start a visit in which the card signs the form; the page then shows its code."""
    try:
        await sign_document(
            update_id=update_id,
            lane=lane,
            body=SignatureIn(),
            caller=caller,
            state=state,
            key=key or None,
        )
    except NOT_DONE as error:
        return await update_shown(request, caller, state, update_id, **shown_again(error, key))
    return go(request, f"/updates/{update_id}")


@router.post(
    "/updates/{update_id}/lanes/{lane}/documents/{document_id}/withdraw", name="withdraw_form"
)
async def withdraw_form(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    document_id: Id,
    caller: Withdrawer,
    state: Everything,
) -> Response:
    """Take back a document that is under check."""
    try:
        await withdraw_document(update_id, lane, document_id, caller, state)
    except NOT_DONE as error:
        return await update_shown(request, caller, state, update_id, **shown_again(error, ""))
    return go(request, f"/updates/{update_id}", N_("the document was taken back"))


async def update_shown(
    request: Request, caller: Caller, state: State, update_id: str, **again: Any
) -> Response:
    """Return the page of an update; ``again`` is what a refused form adds."""
    async with looking(state.reads) as session:
        seen = await version_of(session, caller, f"update:{update_id}")
        update = await _settled(update_id, caller, session, state)
        happened = (await show_timeline(update_id, caller, session)).items
        documents = await _documents(session, caller, update_id)
        place = await place_of(session, update.holder.id, update.token_serial)
        unregistered = await _unregistered(session, caller, state, update)
    return page(
        request,
        "holder/update.html",
        update=update,
        mine=update.holder.id == caller.id,
        documents=documents,
        history=told(happened),
        place=place,
        unregistered=unregistered,
        titles=titles_of(state),
        seen=seen,
        stage_words=STAGES,
        mode_words=MODES,
        limit=in_words(state.settings.upload_limit_bytes),
        **again,
    )


async def _settled(
    update_id: str, caller: Caller, session: AsyncSession, state: State
) -> UpdateOut:
    """Return the update; what has ended is on record a moment later, and worth that moment."""
    update = await show_update(update_id, caller, session, state)
    if update.live or update.ended_at:
        return update
    await let_go(session)
    await asyncio.sleep(PAUSE)
    async with looking(state.reads) as later:
        return await show_update(update_id, caller, later, state)


async def _documents(session: AsyncSession, caller: Caller, update_id: str) -> list[DocumentOut]:
    if not grants(caller, Permission.SEE_DOCUMENTS):
        return []
    return (await show_documents(update_id, caller, session)).items


async def _unregistered(
    session: AsyncSession, caller: Caller, state: State, update: UpdateOut
) -> int:
    """Return how many third-party certificates, seen by now, the holder may still register."""
    over = update.stage is Stage.COMPLETED and update.kind is Kind.UPDATE
    if not over or update.holder.id != caller.id:
        return 0
    try:
        offer = await show_plan(card_id=update.card_id, caller=caller, session=session, state=state)
    except Problem:
        return 0
    return len(offer.third_party) or len(offer.plan.registers)
