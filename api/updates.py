"""Updates: where they stand, what happened to them, and what people do to them."""

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints

from api.actions import Taken, said_before, take, take_signed
from api.auth import Proof, may
from api.authorize import Caller, Permission, Scope, authorize
from api.idempotency import GivenKey, id_for
from api.paging import Page, Paging, page
from api.problems import not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import LINE, Filled, Id, In, Out, Reason
from api.state import Everything, State
from api.update_shapes import MailOut, PersonRef, UpdateLine, UpdateOut, VisitOut
from api.update_views import shown_line, shown_update, shown_visit, visible_update
from api.visits import new_visit, refuse_revoked
from cardflow.db.register_updates import (
    Wanted,
    find_update,
    list_updates,
    mails_of,
    names_of,
    timeline,
)
from cardflow.db.tables import AuditEntry, Mail, Update
from cardflow.db.views import input_of, view_of
from cardflow.decisions import MAX_TOKEN, utc_now
from cardflow.model import Act, Action, Stage, Verdict, Visit
from cardflow.sql import transaction

router = APIRouter(prefix="/updates", tags=["updates"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_UPDATES))]
Continuer = Annotated[Caller, Depends(may(Permission.CONTINUE_UPDATE))]
Canceller = Annotated[Caller, Depends(may(Permission.CANCEL_UPDATE))]
Retrier = Annotated[Caller, Depends(may(Permission.RETRY_UPDATE))]
Service = Annotated[Caller, Depends(may(Permission.SEND_ACTIONS))]
Decider = Annotated[Caller, Depends(may(Permission.DECIDE_DOCUMENT, Proof.IN_PERSON))]
LaneName = Annotated[str, StringConstraints(max_length=64, pattern="^[a-z0-9-]+$")]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
ABOUT = "In the holder's name or login, or the card's serial or label."
# Bulky, or of use to machines only; the evidence keeps them.
NOT_TOLD = ("csr_pem", "certificate_pem", "signature", "nonce")


class ReasonIn(In):
    """Why."""

    reason: Annotated[Reason, Filled]


class NothingIn(In):
    """Nothing needs to be said."""


class DecisionIn(In):
    """A word on exactly what ``digest`` stands for; a rejection needs a reason."""

    verdict: Verdict
    reason: Reason = ""
    digest: Digest


class ActionIn(In):
    """A signed action: a JWS under a certificate of this organisation's decision root."""

    token: Annotated[str, StringConstraints(max_length=MAX_TOKEN)]


class ReplyOut(Out):
    """What an action led to."""

    stage: Stage
    message: str
    action_id: str


class ContinueOut(Out):
    """The visit that begins now."""

    reply: ReplyOut
    visit: VisitOut


class HappenedOut(Out):
    """Something that happened to an update."""

    number: int
    at: datetime
    kind: str
    lane: str
    actor: PersonRef
    facts: dict[str, Any]


@router.get("", operation_id="list_updates", responses=problems())
async def show_updates(
    *,
    caller: Reader,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    stage: Stage | None = None,
    card: Annotated[str, Query(max_length=36, pattern=LINE)] = "",
    holder: Annotated[str, Query(max_length=36, pattern=LINE)] = "",
    policy: Annotated[str, Query(max_length=100, pattern=LINE)] = "",
    search: Annotated[str, Query(max_length=100, pattern=LINE, description=ABOUT)] = "",
    open: bool | None = None,
) -> Page[UpdateLine]:
    """List updates, the newest first; a holder sees their own."""
    if authorize(caller, Permission.SEE_UPDATES).scope is Scope.OWN:
        if holder not in ("", caller.id):
            return Page(items=[])
        holder = caller.id
    wanted = Wanted(stage or "", card, holder, policy, search, open)
    before = paging.after("updates")
    rows = await list_updates(session, wanted, before=before, limit=paging.limit + 1)
    names = await names_of(session, {row.holder_id for row in rows})
    return page("updates", rows, paging, lambda row: row.id, lambda row: shown_line(row, names))


@router.get("/{update_id}", operation_id="show_update", responses=problems(404))
async def show_update(
    update_id: Id, caller: Reader, session: Reading, state: Everything
) -> UpdateOut:
    """Return an update: its lanes, who is waited for, and what you may do now."""
    return await shown_update(state, session, caller, update_id)


@router.get("/{update_id}/timeline", operation_id="show_timeline", responses=problems(404))
async def show_timeline(update_id: Id, caller: Reader, session: Reading) -> Page[HappenedOut]:
    """Return what happened to an update, in order."""
    row = await visible_update(session, caller, update_id)
    entries = await timeline(session, row.id)
    names = await names_of(session, {entry.actor for entry in entries})
    return Page(items=[_happened(entry, names) for entry in entries])


@router.get("/{update_id}/mails", operation_id="list_mails", responses=problems(404))
async def show_mails(update_id: Id, caller: Reader, session: Reading) -> Page[MailOut]:
    """Return the mails about an update and what became of them; a holder sees their own."""
    row = await visible_update(session, caller, update_id)
    only_own = authorize(caller, Permission.SEE_UPDATES).scope is Scope.OWN
    mails = [m for m in await mails_of(session, row.id) if not only_own or m.person_id == caller.id]
    return Page(items=[_mail(mail) for mail in mails])


@router.post(
    "/{update_id}/continue", operation_id="continue_update", responses=problems(404, 409, 413)
)
async def continue_update(
    update_id: Id, _body: NothingIn, caller: Continuer, state: Everything, key: GivenKey
) -> ContinueOut:
    """Start the next visit on the workstation that has the card now; it asks for the PIN."""
    row = await _row(state, caller, update_id, Permission.CONTINUE_UPDATE)
    visit = await _visit(state, caller, row, key)
    action = _action(caller, row, Act.CONTINUE, Permission.CONTINUE_UPDATE, key, visit=visit)
    taken = await take(state, row.card_id, action)
    assert taken.action.visit is not None  # noqa: S101 it was journalled with one
    async with transaction(state.reads) as session:
        shown = await shown_visit(session, taken.action.visit)
    return ContinueOut(reply=_reply(taken), visit=shown)


async def _visit(state: State, caller: Caller, row: Update, key: str | None) -> Visit | None:
    """Return the visit that an earlier try of this request asked for, else the next one."""
    async with transaction(state.reads) as session:
        if earlier := await said_before(session, caller, key):
            return earlier.visit
        await refuse_revoked(session, view_of(row))
        return await new_visit(session, caller, input_of(row).token_serial, state.settings)


@router.post("/{update_id}/cancel", operation_id="cancel_update", responses=problems(404, 409, 413))
async def cancel_update(
    update_id: Id, body: ReasonIn, caller: Canceller, state: Everything, key: GivenKey
) -> ReplyOut:
    """Cancel an update; everything old on the card stays and works."""
    needed = Permission.CANCEL_UPDATE
    row = await _row(state, caller, update_id, needed)
    action = _action(caller, row, Act.CANCEL, needed, key, reason=body.reason)
    return _reply(await take(state, row.card_id, action))


@router.post("/{update_id}/retry", operation_id="retry_update", responses=problems(404, 409, 413))
async def retry_update(
    update_id: Id, _body: NothingIn, caller: Retrier, state: Everything, key: GivenKey
) -> ReplyOut:
    """Order another try of everything that needs attention."""
    needed = Permission.RETRY_UPDATE
    row = await _row(state, caller, update_id, needed)
    return _reply(await take(state, row.card_id, _action(caller, row, Act.RETRY, needed, key)))


@router.post(
    "/{update_id}/lanes/{lane}/decisions",
    status_code=201,
    operation_id="decide_document",
    responses=problems(404, 409, 413),
)
async def decide_document(
    *,
    update_id: Id,
    lane: LaneName,
    body: DecisionIn,
    caller: Decider,
    state: Everything,
    key: GivenKey,
) -> ReplyOut:
    """Approve or reject the document under check; the first decision counts."""
    needed = Permission.DECIDE_DOCUMENT
    row = await _row(state, caller, update_id, needed)
    if lane not in {plan.lane for plan in input_of(row).plan.lanes}:
        raise not_found("lane")
    action = _action(caller, row, Act.DECIDE_DOCUMENT, needed, key, lane=lane, **body.model_dump())
    return _reply(await take(state, row.card_id, action))


@router.post("/{update_id}/actions", operation_id="send_action", responses=problems(404, 409, 413))
async def send_action(
    update_id: Id, body: ActionIn, caller: Service, state: Everything
) -> ReplyOut:
    """Pass on an action that was signed elsewhere; its own id makes a repeat harmless."""
    row = await _row(state, caller, update_id, Permission.SEND_ACTIONS)
    return _reply(await take_signed(state, row.id, row.card_id, body.token))


async def _row(state: State, caller: Caller, update_id: str, needed: Permission) -> Update:
    """Return the update if the caller may do this to it."""
    async with transaction(state.reads) as session:
        row = await find_update(session, update_id)
    if row is None:
        raise not_found("update")
    authorize(caller, needed, row)
    return row


def _action(
    caller: Caller,
    row: Update,
    act: Act,
    needed: Permission,
    key: str | None,
    **details: Any,
) -> Action:
    return Action(
        id=id_for(caller, key),
        act=act,
        update_id=row.id,
        actor=caller.person,
        role=authorize(caller, needed, row).role,
        at=utc_now(),
        **details,
    )


def _reply(taken: Taken) -> ReplyOut:
    return ReplyOut.model_validate(taken.reply)


def _happened(entry: AuditEntry, names: dict[str, str]) -> HappenedOut:

    told = json.loads(entry.text)["facts"]
    facts = told.get("facts", told)
    return HappenedOut(
        number=entry.number,
        at=entry.at,
        kind=entry.kind,
        lane=str(told.get("lane", "")),
        actor=PersonRef(id=entry.actor, name=names.get(entry.actor, "")),
        facts={k: v for k, v in facts.items() if k not in (*NOT_TOLD, "token")},
    )


def _mail(mail: Mail) -> MailOut:
    return MailOut.model_validate(mail)
