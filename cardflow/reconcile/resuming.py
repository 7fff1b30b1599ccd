"""Starting an open update anew from what database and CA know of it, after its workflow was lost.

The state is signed: what the workflow goes on from is vouched for like its start. Whatever was done
since the last publication is done again under the same names, so nothing happens twice.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from cardflow import lifecycle
from cardflow.ca.tables import CaRequest
from cardflow.db import opening
from cardflow.db.memories import state_of
from cardflow.db.register_updates import journal_of, timeline
from cardflow.db.tables import JournalAnswer, JournalEntry, Update
from cardflow.db.views import event_of, input_of
from cardflow.decisions import peek, resuming_digest, utc_now
from cardflow.model import (
    Act,
    Action,
    Lane,
    LaneStage,
    Reply,
    Role,
    UpdateInput,
    UpdateState,
    UpdateView,
    new_id,
)
from cardflow.orders import request_id
from cardflow.reconcile.installation import WORKFLOW, Installation, workflow_id
from cardflow.sql import looking
from cardflow.wire import from_json

ACT = "act"
EMBEDDED = "embedded"
PATIENCE = timedelta(seconds=10)
VISITS = (Act.CONTINUE, Act.SIGN_DOCUMENT)
HEARD_BY_WORKFLOWS = (
    Act.SUBMIT_DOCUMENT,
    Act.WITHDRAW_DOCUMENT,
    Act.DECIDE_DOCUMENT,
    Act.CANCEL,
    Act.RETRY,
    Act.REPORT_LOST,
)
INTERRUPTED = "the work at the workstation was interrupted; connect the card and continue"

Journal = Sequence[tuple[JournalEntry, JournalAnswer | None]]


async def resume(there: Installation, update_id: str) -> list[str]:
    """Start the update's workflow anew, or return every reason why it cannot go on."""
    async with looking(there.sessions) as session:
        row = await session.get_one(Update, update_id)
        update = _signed(there, replace(input_of(row), resumed=await state_to_resume(session, row)))
        found = await opening.opening_objections(
            session,
            update,
            workflow_id=workflow_id(update.card_id),
            decision_root=there.decision_root,
        )
    return found or await _start(there, update)


def _signed(there: Installation, update: UpdateInput) -> UpdateInput:
    action = Action(
        id=new_id(),
        act=Act.RESUME,
        update_id=update.update_id,
        actor="",
        role=Role.SERVICE,
        at=utc_now(),
        digest=resuming_digest(update),
    )
    assert update.resumed is not None  # noqa: S101 it was just put there
    return replace(update, resumed=replace(update.resumed, resumption=there.signer.sign(action)))


async def _start(there: Installation, update: UpdateInput) -> list[str]:
    try:
        await there.client.start_workflow(  # no failpoint: run again, it finds it running
            WORKFLOW,
            update,
            id=workflow_id(update.card_id),
            task_queue=there.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=f"{update.kind} of card {update.card_id}, resumed",
            rpc_timeout=PATIENCE,
        )
    except WorkflowAlreadyStartedError:
        return ["another update is open on the card: end that one first"]
    return []


# The state


async def state_to_resume(session: AsyncSession, row: Update) -> UpdateState:
    """Return the state to go on from: as published, and what journal and CA know beyond it."""
    state = await state_of(session, row)
    journal = await journal_of(session, row.id)
    on_record = {
        peek(event.token).id
        for entry in await timeline(session, row.id)
        if entry.event and (event := event_of(entry)).token
    }
    state = _with_journal(state, journal, on_record)
    return await _with_ca(session, input_of(row), state)


def _with_journal(state: UpdateState, journal: Journal, on_record: set[str]) -> UpdateState:
    """Return the state with the answers that it forgot, and no visit: that was interrupted."""
    answers = {
        entry.action_id: _words(answer)
        for entry, answer in journal
        if answer
        and answer.accepted
        and (entry.action_id in on_record or peek(entry.token).act in VISITS)
    }
    clicked = {entry.action_id for entry, _ in journal if peek(entry.token).act in VISITS}
    interrupted = state.visit is not None or bool(clicked - state.answered.keys())
    return replace(
        state,
        answered={**answers, **state.answered},
        visited=state.visited or bool(clicked),
        visit=None,
        writing=False,
        last_visit=INTERRUPTED if interrupted else state.last_visit,
    )


def _words(answer: JournalAnswer) -> str:
    return from_json(Reply, json.loads(answer.answer)).message


async def _with_ca(session: AsyncSession, update: UpdateInput, state: UpdateState) -> UpdateState:
    if update.ca != EMBEDDED:
        return state  # the lane's own look before it asks is enough
    ids = [request_id(update, lane) for lane in state.lanes]
    rows = await session.scalars(select(CaRequest).where(col(CaRequest.request_id).in_(ids)))
    known = {row.request_id: row for row in rows}
    for lane in state.lanes:
        state = _lane_with_ca(state, lane, known.get(request_id(update, lane)), utc_now())
    return state


def _lane_with_ca(
    state: UpdateState, lane: Lane, asked: CaRequest | None, now: datetime
) -> UpdateState:
    name = lane.plan.lane
    if asked and lane.stage is LaneStage.PREPARING:
        # The key was made and the CA asked in a visit whose end was never published.
        state = replace(state, visited=True)
        return lifecycle.prepared(
            state, name, csr_pem=asked.csr_pem, spki_sha256=asked.spki_sha256, now=now
        )
    if asked is None and lane.stage is LaneStage.AT_CA:
        # A CA that has lost the request is asked anew, under the same name.
        return lifecycle.pending_at_ca(state, name, handle="", poll_at=None)
    return state


# What people said since


def unheard(journal: Journal, view: UpdateView, on_record: set[str]) -> list[JournalEntry]:
    """Return the actions whose yes somebody got and of which the workflow knows nothing."""
    return [
        entry
        for entry, answer in journal
        if answer
        and answer.accepted
        and entry.action_id not in view.state.answered
        and entry.action_id not in on_record
        and peek(entry.token).act in HEARD_BY_WORKFLOWS
    ]


async def say_again(there: Installation, card_id: str, entry: JournalEntry) -> str:
    """Have the workflow take a journalled action; return why it did not, if it did not."""
    handle = there.client.get_workflow_handle(workflow_id(card_id))
    try:
        await handle.execute_update(  # no failpoint: it is one action, said under its id
            ACT, entry.token, id=entry.action_id, result_type=Reply, rpc_timeout=PATIENCE
        )
    except WorkflowUpdateFailedError as error:
        return str(error.cause)
    except (WorkflowUpdateRPCTimeoutOrCancelledError, RPCError):
        return "the workflow did not answer; see that a worker runs, and run this again"
    return ""
