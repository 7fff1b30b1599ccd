"""Opening an update: signed, journalled, started once, however often the request is repeated."""

import asyncio
import json
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.actions import PATIENCE, Taken, accepted, keep_answer, record, take, told
from api.authorize import Caller, Grant
from api.idempotency import HEADER, id_for
from api.planning import Case, plan_digest
from api.problems import invalid, refused
from api.state import State
from api.visits import new_visit
from cardflow.db.register_updates import find_update, journalled
from cardflow.db.tables import JournalAnswer
from cardflow.db.views import input_of
from cardflow.decisions import opening_digest, peek, utc_now
from cardflow.errors import Unavailable
from cardflow.failpoints import effect
from cardflow.model import (
    Act,
    Action,
    Kind,
    Plan,
    Reply,
    Role,
    Stage,
    UpdateInput,
    UpdateView,
    Visit,
)
from cardflow.sql import transaction
from workflows.card_update import CardUpdate, workflow_id

ALREADY_OPEN = "an update is already open on this card"
LOOKS, PAUSE = 120, 0.025  # how long the answer waits for the update to be on record: 3 s


@dataclass(frozen=True)
class Wish:
    """Who wants which update of which card, and the key under which they may ask again."""

    caller: Caller
    grant: Grant
    case: Case
    plan: Plan
    update_id: str
    kind: Kind = Kind.UPDATE
    reason: str = ""
    key: str | None = None


@dataclass(frozen=True)
class Opened:
    """An open update; a holder's has its first visit."""

    update_id: str
    message: str
    visit: Visit | None = None


async def begun(state: State, update_id: str, card_id: str) -> None:
    """Return once the update is on record, if an earlier try of this request has started it.

    The card may look otherwise by now: a plan made again would be refused as another one.
    """
    async with transaction(state.reads) as session:
        if not await journalled(session, update_id) or await find_update(session, update_id):
            return
    client = await state.temporal.client()
    open_one = await _open_one(client, card_id)
    if open_one is not None and open_one.update_id == update_id:
        await _until_on_record(state, client, update_id, card_id)


async def earlier(
    session: AsyncSession, update_id: str, card_id: str, digest: str
) -> Action | None:
    """Return the action if this request opened its update before; raise 422 if another one did."""
    row = await find_update(session, update_id)
    if row is None:
        return None
    update = input_of(row)
    same = digest in ("", plan_digest(update.policy, update.plan, update.kind))
    if row.card_id != card_id or not same:
        raise _other_request()
    return peek(update.token)


async def open_update(state: State, wish: Wish) -> Opened:
    """Have the update open and on record; a holder's first visit has begun."""
    visit = None
    if wish.grant.role is Role.HOLDER:
        # Nothing is started for a card that is not there.
        async with transaction(state.reads) as session:
            serial = wish.case.card.token_serial
            visit = await new_visit(session, wish.caller, serial, state.settings)
    await _start(state, wish)
    if visit is None:
        return Opened(wish.update_id, "the update is open; its holder continues at the workstation")
    taken = await _visit(state, wish, visit)
    return Opened(wish.update_id, taken.reply.message, taken.action.visit)


async def _visit(state: State, wish: Wish, visit: Visit) -> Taken:
    action = Action(
        id=id_for(wish.caller, wish.key and f"{wish.key}\nfirst visit"),
        act=Act.CONTINUE,
        update_id=wish.update_id,
        actor=wish.caller.person,
        role=Role.HOLDER,
        at=utc_now(),
        visit=visit,
    )
    return await take(state, wish.case.card.id, action)


async def _start(state: State, wish: Wish) -> None:
    update, action = await _journalled(state, wish)
    client = await state.temporal.client()
    for _ in range(LOOKS):
        if await _is_started(state, client, update):
            break
        open_one = await _open_one(client, update.card_id)
        if open_one is not None and open_one.update_id == update.update_id:
            break
        if open_one is not None and not open_one.state.ended:
            await _refuse(state, action)
        await asyncio.sleep(PAUSE)  # the last update is over and about to close
    else:
        raise Unavailable("the card's last update is just being closed; try again in a moment")
    await _until_on_record(state, client, update.update_id, update.card_id)
    await keep_yes(state, action)


async def keep_yes(state: State, action: Action) -> None:
    """Leave on record that the update is open; the first try may have died before it did."""
    reply = Reply(Stage.PREPARING, "the update is open", action.id)
    await keep_answer(state, accepted(action, reply))


async def _is_started(state: State, client: Client, update: UpdateInput) -> bool:
    """Start the update's workflow; False while another one holds the card's workflow id."""
    try:
        with effect("api.start"):
            await client.start_workflow(
                CardUpdate.run,
                update,
                id=workflow_id(update.card_id),
                task_queue=state.settings.temporal_task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=f"{update.kind} of card {update.card_id}",
                rpc_timeout=PATIENCE,
            )
    except WorkflowAlreadyStartedError:
        return False
    return True


async def _open_one(client: Client, card_id: str) -> UpdateView | None:
    """Return the state of the update that has the card now; None when it has just gone."""
    handle = client.get_workflow_handle_for(CardUpdate.run, workflow_id(card_id))
    try:
        return await handle.query(CardUpdate.view, rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _refuse(state: State, action: Action) -> None:
    answer = JournalAnswer(
        action_id=action.id,
        accepted=False,
        answer=json.dumps([ALREADY_OPEN]),
        recorded_at=utc_now(),
    )
    await keep_answer(state, answer)
    raise refused([ALREADY_OPEN])


async def _journalled(state: State, wish: Wish) -> tuple[UpdateInput, Action]:
    """Return the signed input; a repeat takes the instant, and so the token, of the first try."""
    update = _input(state, wish)
    entry = await record(state, _opening_action(wish, update))
    action = peek(entry.token)
    update = replace(update, opened_at=action.at)
    if opening_digest(update) != action.digest:
        raise _other_request()
    return replace(update, token=entry.token), action


def _opening_action(wish: Wish, update: UpdateInput) -> Action:
    return Action(
        id=wish.update_id,
        act=Act.OPEN,
        update_id=wish.update_id,
        actor=wish.caller.person,
        role=wish.grant.role,
        at=update.opened_at,
        digest=opening_digest(update),
        reason=wish.reason,
    )


def _input(state: State, wish: Wish) -> UpdateInput:
    case = wish.case
    return UpdateInput(
        update_id=wish.update_id,
        kind=wish.kind,
        card_id=case.card.id,
        token_serial=case.card.token_serial,
        token_label=case.card.token_label,
        holder_id=case.card.holder_id or "",
        started_by=wish.caller.person,
        opened_at=utc_now(),
        policy=case.policy,
        plan=wish.plan,
        decision_root=state.keys.decision_root,
        debts=case.debts,
    )


async def _until_on_record(state: State, client: Client, update_id: str, card_id: str) -> None:
    """Return when the update can be read back: what was answered must be there to be looked at."""
    for _ in range(LOOKS):
        async with transaction(state.reads) as session:
            if await find_update(session, update_id):
                return
        await asyncio.sleep(PAUSE)
    handle = client.get_workflow_handle_for(CardUpdate.run, workflow_id(card_id))
    try:
        await handle.result(rpc_timeout=PATIENCE)
    except WorkflowFailureError as error:
        raise await told(state, [str(error.cause)]) from error
    except RPCError as error:
        detail = "the update is started and not yet on record; look again in a moment"
        raise Unavailable(detail) from error


def _other_request() -> Exception:
    remedy = "use a new key"
    return invalid(HEADER, "this key was used for another request, or the card changed", remedy)
