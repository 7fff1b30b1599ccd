"""Updates: what is on record of them beside what Temporal knows; differences named and mended."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import select
from sqlmodel import col
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from cardflow.db.register_updates import journal_of, timeline
from cardflow.db.tables import JournalEntry, Update
from cardflow.db.views import event_of
from cardflow.decisions import peek
from cardflow.model import UpdateView
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.histories import Told, ask, runs, told_by
from cardflow.reconcile.installation import Installation, workflow_id
from cardflow.reconcile.resuming import resume, say_again, unheard
from cardflow.reconcile.telling import tell_record
from cardflow.sql import looking

AT_ONCE = 20
IDS_AT_ONCE = 500
LOOKS, PAUSE = 20, 0.1  # a publication under way is no difference: 2 s
RESUMES = "`--apply` starts it anew from what database and CA know; nothing is issued twice"
BY_HISTORY = "`--apply` tells the record again what the workflow's history holds"
T = TypeVar("T")


async def compare_updates(there: Installation) -> list[Finding]:
    """Return every difference between the updates on record and those in Temporal."""
    async with looking(there.sessions) as session:
        rows = (await session.scalars(select(Update).where(col(Update.ended_at).is_(None)))).all()
    known = await _at_once(_one(there, row) for row in rows)
    unknown = await _strangers(there)
    actions = await _at_once(_actions(there, row) for row in rows)
    return [*_flat(known), *unknown, *_flat(actions)]


async def _at_once(works: Iterable[Awaitable[T]]) -> list[T]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(work: Awaitable[T]) -> T:
        async with room:
            return await work

    return list(await asyncio.gather(*(one(work) for work in works)))


def _flat(lists: Iterable[list[Finding]]) -> list[Finding]:
    return [finding for found in lists for finding in found]


def _batched(ids: list[str]) -> Iterator[list[str]]:
    return (ids[at : at + IDS_AT_ONCE] for at in range(0, len(ids), IDS_AT_ONCE))


# One update that is open on record


async def _one(there: Installation, row: Update) -> list[Finding]:
    asked = await ask(there.client, workflow_id(row.card_id))
    if asked.is_open and asked.view is None:
        return [_silent(row)]
    if asked.view is None or asked.view.update_id != row.id:
        return await _without_workflow(there, row)
    return await _with_workflow(there, row, asked.view)


def _silent(row: Update) -> Finding:
    return Finding(
        Difference.WORKFLOW_SILENT,
        row.id,
        f"The workflow of update {row.id} runs and does not answer.",
        "start a worker; if one runs, look at the workflow's failing task in Temporal's pages",
    )


async def _with_workflow(there: Installation, row: Update, view: UpdateView) -> list[Finding]:
    if view.state.events > row.events:
        if await _catches_up(there, row.id, view.state.events):
            return []
        told = await told_by(there.client, workflow_id(row.card_id), row.id)
        return [await _record_behind(there, row, told, view.state.events)]
    if view.state.events < row.events:
        return [await _workflow_behind(there, row, view)]
    return []


async def _catches_up(there: Installation, update_id: str, events: int) -> bool:
    for _ in range(LOOKS):
        async with looking(there.sessions) as session:
            row = await session.get_one(Update, update_id)
        if row.events >= events:
            return True
        await asyncio.sleep(PAUSE)
    return False


async def _without_workflow(there: Installation, row: Update) -> list[Finding]:
    told = await told_by(there.client, workflow_id(row.card_id), row.id)
    found, has_ended = [], False
    if told and told.events > row.events:
        found.append(await _record_behind(there, row, told, told.events))
        has_ended = told.has_ended
    if not has_ended:
        found.append(await _lost(there, row))
    return found


async def _record_behind(
    there: Installation, row: Update, told: Told | None, events: int
) -> Finding:
    found = Finding(
        Difference.RECORD_BEHIND,
        row.id,
        f"The record of update {row.id} ends at event {row.events} and its workflow has told "
        f"{events}: the database was restored from an older copy.",
        BY_HISTORY,
    )
    if there.apply and told:
        await tell_record(there, told, after=row.events)
        return replace(
            found, mended=f"events {row.events + 1} to {told.events} are on record again"
        )
    return found


async def _workflow_behind(there: Installation, row: Update, view: UpdateView) -> Finding:
    found = Finding(
        Difference.WORKFLOW_BEHIND,
        row.id,
        f"The workflow of update {row.id} knows {view.state.events} events, {row.events} are on "
        "record: Temporal was restored from an older copy.",
        f"{RESUMES}, and ends the old one",
    )
    if not there.apply:
        return found
    handle = there.client.get_workflow_handle(workflow_id(row.card_id))
    await _terminate(handle, "the record is ahead of this workflow")
    return await _resumed(there, row, found)


async def _lost(there: Installation, row: Update) -> Finding:
    found = Finding(
        Difference.WORKFLOW_LOST,
        row.id,
        f"Update {row.id} is open on record ({row.stage}) and Temporal has no workflow for it.",
        RESUMES,
    )
    return await _resumed(there, row, found) if there.apply else found


async def _resumed(there: Installation, row: Update, found: Finding) -> Finding:
    if why := await resume(there, row.id):
        return replace(found, remedy=f"it cannot go on: {'; '.join(why)}")
    return replace(found, mended="it was started anew")


async def _terminate(handle: WorkflowHandle[Any, Any], reason: str) -> None:
    with suppress(RPCError):  # it has ended meanwhile
        await handle.terminate(reason=reason)  # no failpoint: run again, it compares


# Updates in Temporal that are not on record, or over


async def _strangers(there: Installation) -> list[Finding]:
    newest: dict[str, WorkflowExecution] = {}
    async for run, update in runs(there.client):
        known = newest.setdefault(update.update_id, run)
        if run.start_time > known.start_time:
            newest[update.update_id] = run
    on_record = await _ended_by_id(there, list(newest))
    unknown = [
        _unknown(there, run.id, update_id)
        for update_id, run in newest.items()
        if update_id not in on_record
    ]
    over = [
        _over(there, run, update_id)
        for update_id, run in newest.items()
        if on_record.get(update_id) and run.status is WorkflowExecutionStatus.RUNNING
    ]
    return [one for one in await _at_once([*unknown, *over]) if one]


async def _ended_by_id(there: Installation, update_ids: list[str]) -> dict[str, bool]:
    """Return which of the updates are on record, each with whether it has ended there."""
    found: dict[str, bool] = {}
    for ids in _batched(update_ids):
        query = select(col(Update.id), col(Update.ended_at)).where(col(Update.id).in_(ids))
        async with looking(there.sessions) as session:
            found |= {id_: ended is not None for id_, ended in await session.execute(query)}
    return found


async def _unknown(there: Installation, workflow: str, update_id: str) -> Finding | None:
    told = await told_by(there.client, workflow, update_id)
    if told is None or not (told.is_open or told.said):
        return None  # its start was refused: nothing came of it
    found = Finding(
        Difference.WORKFLOW_UNKNOWN,
        update_id,
        f"Temporal has update {update_id} of card {told.update.card_id}, which is not on record: "
        "the database was restored from an older copy.",
        BY_HISTORY,
    )
    if not there.apply:
        return found
    if why := await there.record.open(told.update, workflow):
        return replace(found, remedy=f"it cannot be put on record: {'; '.join(why)}")
    await tell_record(there, told, after=0)
    return replace(found, mended=f"it is on record again, with {told.events} events")


async def _over(there: Installation, run: WorkflowExecution, update_id: str) -> Finding | None:
    # This run only: another update may have begun on the card meanwhile.
    handle = there.client.get_workflow_handle(run.id, run_id=run.run_id)
    for _ in range(LOOKS):
        if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
            return None
        await asyncio.sleep(PAUSE)
    found = Finding(
        Difference.WORKFLOW_BEHIND,
        update_id,
        f"Update {update_id} has ended on record and its workflow runs: Temporal was restored from "
        "an older copy.",
        "`--apply` ends the workflow",
    )
    if there.apply:
        await _terminate(handle, "the update has ended on record")
        return replace(found, mended="the workflow was ended")
    return found


# What people said and were answered


async def _actions(there: Installation, row: Update) -> list[Finding]:
    async with looking(there.sessions) as session:
        journal = await journal_of(session, row.id)
        events = [event_of(entry) for entry in await timeline(session, row.id) if entry.event]
    asked = await ask(there.client, workflow_id(row.card_id))
    if asked.view is None or asked.view.update_id != row.id or asked.view.state.ended:
        return []
    told = {peek(event.token).id for event in events if event.token}
    missing = unheard(journal, asked.view, told)
    return [await _unheard(there, row, entry) for entry in missing]


async def _unheard(there: Installation, row: Update, entry: JournalEntry) -> Finding:
    action = peek(entry.token)
    found = Finding(
        Difference.ACTION_UNHEARD,
        action.id,
        f"{action.actor} was told yes to `{action.act}` on update {row.id} (action {action.id}), "
        "and the workflow does not know of it.",
        "`--apply` sends it again; the workflow verifies it and counts it once",
    )
    if not there.apply:
        return found
    if why := await say_again(there, row.card_id, entry):
        return replace(found, remedy=f"it was sent again and not taken: {why}")
    return replace(found, mended="it was sent again and counts")
