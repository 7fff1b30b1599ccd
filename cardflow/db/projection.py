"""Copies of what workflows did: written forward only, each event once, whatever is repeated."""

from sqlalchemy import delete, select
from sqlalchemy import update as change
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db import audit, effects, mail_queue, memories
from cardflow.db.mail_queue import Postage
from cardflow.db.memories import Remembered
from cardflow.db.register_updates import journal_of
from cardflow.db.tables import (
    AuditEntry,
    Document,
    JournalAnswer,
    Update,
    UpdateLane,
    WaitingFor,
)
from cardflow.db.views import input_of, text_of
from cardflow.decisions import utc_now
from cardflow.errors import Refused
from cardflow.model import Event, Reply, UpdateView
from cardflow.orders import Publication
from cardflow.sql import insert_once
from cardflow.wire import to_json


async def publish(session: AsyncSession, said: Publication, *, postage: Postage) -> None:
    """Leave the events, their effects, their mails in the queue and the state after them."""
    view = said.view
    row = await session.get(Update, view.update_id, with_for_update=True)
    if row is None:
        raise Refused("the update was never opened here")
    if view.state.events > row.events:
        await write_view(session, row, view)
    await memories.remember(session, row.id, Remembered.ANSWER, said.answers)
    await memories.remember(session, row.id, Remembered.DECISION, said.decisions)
    update = input_of(row)
    known = await _recorded(session, row.id)
    new = sorted((e for e in said.events if e.number not in known), key=lambda event: event.number)
    for event in new:
        await effects.apply(session, effects.Happening(row, update, view, event))
        await mail_queue.queue(session, update, event, postage=postage)
    if row.ended_at:
        await _complete_the_journal(session, view)
        await _turn_away(session, row.id)
        await memories.forget(session, row.id)
    await audit.append_all(session, [_entry(row.id, event) for event in new])


async def _complete_the_journal(session: AsyncSession, view: UpdateView) -> None:
    """Leave the yes to every action that counted and whose answer was lost on its way.

    Nobody can tell later: the card's next update does not know the action, and would refuse it.
    """
    counted = await memories.recall(session, view.update_id, Remembered.ANSWER)
    for entry, answer in await journal_of(session, view.update_id):
        if answer is None and entry.action_id in counted:
            reply = Reply(view.stage, counted[entry.action_id], entry.action_id)
            row = {
                "action_id": entry.action_id,
                "accepted": True,
                "answer": text_of(reply),
                "recorded_at": utc_now(),
            }
            # Whoever sent the action may be keeping the same answer just now.
            await session.execute(insert_once(session, JournalAnswer).values(row))


async def _turn_away(session: AsyncSession, update_id: str) -> None:
    """What is still on its way to an update that has ended does not count any more.

    Nobody else says so where it was sent once, by a visit that was over before there was an answer.
    """
    on_its_way = (col(Document.update_id) == update_id, col(Document.state) == "arriving")
    await session.execute(change(Document).where(*on_its_way).values(state="refused"))


async def _recorded(session: AsyncSession, update_id: str) -> set[int | None]:
    query = select(col(AuditEntry.event)).where(col(AuditEntry.update_id) == update_id)
    return set((await session.scalars(query)).all())


def _entry(update_id: str, event: Event) -> audit.Entry:
    return audit.Entry(
        event.kind,
        event.at,
        actor=event.actor,
        update_id=update_id,
        event=event.number,
        facts=to_json(event),
    )


async def write_view(session: AsyncSession, row: Update, view: UpdateView) -> None:
    """Leave the view, its lanes' stages and who is waited for as the update's state."""
    row.stage = view.stage
    row.due_at = view.due_at
    row.ended_because = view.state.ended_because
    row.events = view.state.events
    row.view = text_of(view)
    for lane in view.state.lanes:
        stored = await session.get_one(UpdateLane, (row.id, lane.plan.lane))
        stored.stage = lane.stage
    await session.execute(delete(WaitingFor).where(col(WaitingFor.update_id) == row.id))
    for entry in view.waiting:
        session.add(
            WaitingFor(
                update_id=row.id,
                lane=entry.lane,
                party=entry.party,
                what=entry.what,
                holder_id=view.holder_id,
                since=entry.since,
                until=entry.until,
            )
        )
    await session.flush()
