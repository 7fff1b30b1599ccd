"""A card is reported lost: blocked at once, its update ended, every certificate on it revoked.

1. Block the card, and leave the mails: from here on nothing new opens, whatever fails below.
2. End the open update: its workflow revokes what it knows of, old and new.
3. Order the revocation of whatever else the register knows of the card, also where the update could
   not be ended: nobody waits for its workflow to be mended.

Reported again, each step is taken again where it was not carried out, and nothing happens twice.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.actions import take
from api.auth import Proof, may
from api.authorize import Caller, Permission, authorize
from api.cards import CardOut
from api.idempotency import GivenKey, id_for
from api.mailing import domain_of, send_soon
from api.planning import registered_card
from api.problems import Problem, problems
from api.routing import GuardedRoute
from api.shapes import Id, In, Out, Reason
from api.state import Everything, State
from cardflow.ca import RevocationReason
from cardflow.db import audit
from cardflow.db.notices import queue_notices
from cardflow.db.register_cards import unrevoked_on
from cardflow.db.register_identity import find_person, people_in
from cardflow.db.register_updates import find_update, open_update_on
from cardflow.db.tables import Card, Update
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.mail.letters import CARD_LOST
from cardflow.model import Act, Action, CardState, Role
from cardflow.orders import revocations
from cardflow.sql import transaction
from workflows.afterwork import Afterwork
from workflows.card_update import workflow_id

PATIENCE_SECONDS = 5  # with an update that runs and is not on record: it just begins, or ends
LOOK_EVERY_SECONDS = 0.1

router = APIRouter(prefix="/cards", tags=["cards"], route_class=GuardedRoute)

Reporter = Annotated[Caller, Depends(may(Permission.REPORT_LOST, Proof.FRESH))]


class LossIn(In):
    """What is known of how the card was lost; it may be left out."""

    reason: Reason = ""


class LossOut(Out):
    """The card as it stands now, the update that ended with it, and what is being revoked."""

    card: CardOut
    ended_update: str
    revoking: list[str]  # serial numbers


@router.post(
    "/{card_id}/report-lost", operation_id="report_card_lost", responses=problems(404, 409, 413)
)
async def report_lost(
    card_id: Id, body: LossIn, caller: Reporter, state: Everything, key: GivenKey
) -> LossOut:
    """Block a card that is lost or stolen; end its update, and revoke what we issued for it."""
    report_id = id_for(caller, key)
    async with transaction(state.sessions) as session:  # no failpoint: sent again, it goes on
        card = await registered_card(session, card_id, to_change=True)
        grant = authorize(caller, Permission.REPORT_LOST, card)
        mails = await _blocked(session, state, card, caller, body.reason)
    send_soon(state, f"lost/{report_id}", mails)
    action = Action(
        id=report_id,
        act=Act.REPORT_LOST,
        update_id="",
        actor=caller.person,
        role=grant.role,
        at=utc_now(),
        reason=body.reason,
    )
    try:
        ended = await _ended(state, card_id, action)
    finally:  # and not before: what the update issued until its end is on record only now
        revoking = await _revoked(state, card_id, report_id)
    async with transaction(state.reads) as session:
        shown = CardOut.model_validate(await registered_card(session, card_id))
    return LossOut(card=shown, ended_update=ended, revoking=revoking)


async def _blocked(
    session: AsyncSession, state: State, card: Card, caller: Caller, reason: str
) -> list[str]:
    """Return the mails that tell of it; none when the card was reported before."""
    if card.lost_at:
        return []
    card.lost_at, card.lost_by, card.lost_because = utc_now(), caller.person, reason
    if card.state != CardState.REVOKED:
        card.state = CardState.DISABLED
    facts = {"card_id": card.id, "holder_id": card.holder_id, "reason": reason}
    entry = audit.Entry("card_reported_lost", card.lost_at, actor=caller.id, facts=facts)
    await audit.append(session, entry)
    holder = await find_person(session, card.holder_id) if card.holder_id else None
    told = {person.id: person for person in await people_in(session, Role.OPERATOR)}
    if holder:
        told[holder.id] = holder
    domain = domain_of(state.settings)
    return await queue_notices(
        session, CARD_LOST, told.values(), now=card.lost_at, domain=domain, card_id=card.id
    )


async def _ended(state: State, card_id: str, action: Action) -> str:
    """Return the update that the report ended; empty when none was open."""
    update = await _open_update(state, card_id)
    if update is None:
        return ""
    try:
        await take(state, card_id, replace(action, update_id=update.id))
    except Problem:
        async with transaction(state.reads) as session:
            now = await find_update(session, update.id)
        if now is None or now.ended_at is None:
            raise
    return update.id


async def _open_update(state: State, card_id: str) -> Update | None:
    """Return the card's open update, waiting for one that runs and is not on record yet."""
    until = monotonic() + PATIENCE_SECONDS
    while True:
        async with transaction(state.reads) as session:
            if update := await open_update_on(session, card_id):
                return update
        if not await _runs(state, card_id):
            return None
        if monotonic() > until:
            raise Unavailable(
                "the card is blocked, and an update of it is just beginning or ending; report again"
            )
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _runs(state: State, card_id: str) -> bool:
    """Tell whether an update of the card runs, on record or not."""
    client = await state.temporal.client()
    try:
        found = await client.get_workflow_handle(workflow_id(card_id)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return found.status is WorkflowExecutionStatus.RUNNING


async def _revoked(state: State, card_id: str, report_id: str) -> list[str]:
    """Order the revocation of every certificate of the card, however long the CA is away."""
    async with transaction(state.reads) as session:
        serials = await unrevoked_on(session, card_id, now=utc_now())
    if not serials:
        return []
    # An order that waits for the CA must not keep back another one, for what was issued since then.
    what = hashlib.sha256(" ".join(serials).encode()).hexdigest()[:16]
    client = await state.temporal.client()
    with suppress(WorkflowAlreadyStartedError):  # by the same report, sent again
        await client.start_workflow(  # no failpoint: the report, sent again, has the rest done
            Afterwork.run,
            revocations(RevocationReason.KEY_COMPROMISE, tuple(serials)),
            id=f"lost/{report_id}/{what}",
            task_queue=state.settings.temporal_task_queue,
        )
    return serials
