"""How a person's word reaches an update: signed, journalled, sent, answered; all in this one place.

The journal comes first: a word that was journalled and not answered is sent again by its repeat,
under the same id, and counts once. An update that ends leaves the yes to each word that counted.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.authorize import Caller
from api.idempotency import HEADER, id_for
from api.problems import Problem, invalid, refused
from api.state import State
from cardflow.db.register_updates import answer_to, find_update, journalled, names_of
from cardflow.db.tables import JournalAnswer, JournalEntry
from cardflow.db.views import text_of
from cardflow.decisions import peek, read, utc_now
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect
from cardflow.model import Act, Action, Reply
from cardflow.sql import first_kept, transaction
from cardflow.wire import from_json
from workflows.card_update import ACT, CardUpdate, workflow_id

PATIENCE = timedelta(seconds=10)
ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
NO_ANSWER = (
    "the update did not answer in time; what you said is kept: send the same request with the same "
    f"{HEADER} again to learn what came of it"
)
LOST = (
    "the update is open and its workflow is not there; an administrator brings it back with "
    f"`cardflow reconcile`, then send the same request with the same {HEADER} again"
)
FOREIGN = "the action is for another update"
ACTIONS = Counter(
    "cardflow_actions", "What updates answered to people's actions.", ["act", "answer"]
)
for _act in Act:
    for _answer in ("accepted", "refused"):
        ACTIONS.labels(_act, _answer)


@dataclass(frozen=True)
class Taken:
    """An action that counted, as it was first recorded, and what it led to."""

    action: Action
    reply: Reply


async def take(
    state: State, card_id: str, action: Action, *, patience: timedelta = PATIENCE
) -> Taken:
    """Have the update on the card take the action, once; a refusal is Problem 409."""
    kept = await _journal(state, action, state.keys.signer.sign(action), only_open=True)
    if not _same(peek(kept.entry.token), action):
        raise invalid(HEADER, "this key was used for another request", "use a new key")
    return await _settled(state, card_id, kept, patience)


async def take_signed(state: State, update_id: str, card_id: str, token: str) -> Taken:
    """Have the update take an action that somebody else under our root has signed, once."""
    try:
        action = read(token, state.keys.decision_root)
    except Refused as refusal:
        raise invalid("token", str(refusal)) from refusal
    if action.update_id != update_id:
        raise invalid("token", FOREIGN)
    kept = await _journal(state, action, token, only_open=True)
    if kept.entry.token != token:
        raise invalid("token", "another action has this id")
    return await _settled(state, card_id, kept, PATIENCE)


async def _settled(state: State, card_id: str, kept: "_Kept", patience: timedelta) -> Taken:
    answer = kept.answer
    if answer is None:
        answer = await _send(state, card_id, kept.entry, patience)
        # The update may have ended since the journal was looked at: what it left there counts.
        answer = await keep_answer(state, answer)
        verdict = "accepted" if answer.accepted else "refused"
        ACTIONS.labels(peek(kept.entry.token).act, verdict).inc()
    if not answer.accepted:
        raise await told(state, json.loads(answer.answer))
    return Taken(peek(kept.entry.token), from_json(Reply, json.loads(answer.answer)))


async def record(state: State, action: Action) -> JournalEntry:
    """Return the action's entry in the journal, made now unless it was there."""
    return (await _journal(state, action, state.keys.signer.sign(action), only_open=False)).entry


async def said_before(session: AsyncSession, caller: Caller, key: str | None) -> Action | None:
    """Return the action of an earlier try of this request; the world may have moved on since."""
    entry = await journalled(session, id_for(caller, key)) if key else None
    return peek(entry.token) if entry else None


@dataclass(frozen=True)
class _Kept:
    """An action in the journal, and what was answered to it before."""

    entry: JournalEntry
    answer: JournalAnswer | None = None


async def _journal(state: State, action: Action, token: str, *, only_open: bool) -> _Kept:
    # In one transaction: at a busy database each one more is what a person waits for.
    try:
        with effect("api.journal"):
            async with transaction(state.sessions) as session:
                if entry := await journalled(session, action.id):
                    return _Kept(entry, await answer_to(session, action.id))
                if only_open:
                    await _check_open(session, action)
                entry = JournalEntry(
                    action_id=action.id,
                    update_id=action.update_id,
                    token=token,
                    recorded_at=utc_now(),
                )
                session.add(entry)
    except IntegrityError:
        # A repeat of the same request won the race.
        return await _journal(state, action, token, only_open=only_open)
    return _Kept(entry)


async def _check_open(session: AsyncSession, action: Action) -> None:
    """An update that has ended answers repeats from the journal and takes nothing new."""
    update = await find_update(session, action.update_id)
    if update and update.ended_at:
        raise refused([f"this update has ended: {update.stage}"])


async def keep_answer(state: State, answer: JournalAnswer) -> JournalAnswer:
    """Leave the answer beside the action, unless one stands there; return the one that does."""
    with effect("api.keep_answer"):
        return await first_kept(state.sessions, answer)


async def told(state: State, objections: Sequence[str]) -> Problem:
    """Return the refusal in words for people: ids of people become their names."""
    found = {match for text in objections for match in ID.findall(text)}
    async with transaction(state.reads) as session:
        names = await names_of(session, found) if found else {}
    return refused([ID.sub(lambda m: names.get(m[0], m[0]), text) for text in objections])


def accepted(action: Action, reply: Reply) -> JournalAnswer:
    """Return the record of a yes."""
    return JournalAnswer(
        action_id=action.id, accepted=True, answer=text_of(reply), recorded_at=utc_now()
    )


async def _send(
    state: State, card_id: str, entry: JournalEntry, patience: timedelta
) -> JournalAnswer:
    client = await state.temporal.client()
    try:
        reply = await _execute(client, card_id, entry, patience)
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == "Busy":
            raise Unavailable(NO_ANSWER) from error
        return await _refusal(state, entry, _objections(error))
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise Unavailable(NO_ANSWER) from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return await _refusal(state, entry, [FOREIGN])
    return accepted(peek(entry.token), reply)


async def _execute(client: Client, card_id: str, entry: JournalEntry, patience: timedelta) -> Reply:
    handle = client.get_workflow_handle_for(CardUpdate.run, workflow_id(card_id))
    with effect("api.act"):
        reply: Reply = await handle.execute_update(
            ACT, entry.token, id=entry.action_id, result_type=Reply, rpc_timeout=patience
        )
    return reply


def _objections(error: WorkflowUpdateFailedError) -> list[str]:
    """Return why the workflow said no; anything else that it raises is a bug of ours."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == "Refused":
        return [str(detail) for detail in cause.details] or [cause.message]
    if isinstance(cause, ApplicationError) and cause.type == "AcceptedUpdateCompletedWorkflow":
        return [FOREIGN]
    raise error


async def _refusal(state: State, entry: JournalEntry, objections: list[str]) -> JournalAnswer:
    if objections == [FOREIGN]:
        objections = [await _how_it_ended(state, entry.update_id)]
    answer = json.dumps(objections, ensure_ascii=False)
    return JournalAnswer(
        action_id=entry.action_id, accepted=False, answer=answer, recorded_at=utc_now()
    )


async def _how_it_ended(state: State, update_id: str) -> str:
    """Another update, or none, is open on the card: this one has ended, or Temporal has lost it."""
    async with transaction(state.reads) as session:
        update = await find_update(session, update_id)
    if update and update.ended_at is None:
        raise Unavailable(LOST)
    return f"this update has ended: {update.stage}" if update else "this update has ended"


def _same(recorded: Action, action: Action) -> bool:
    """Tell whether two actions are one request; instants, ids and codes are new each time."""
    return _essence(recorded) == _essence(action)


def _essence(action: Action) -> Action:
    document = action.document
    if document:
        document = replace(document, id="", submitted_at=None)
    return replace(action, at=action.at.min, visit=None, document=document)
