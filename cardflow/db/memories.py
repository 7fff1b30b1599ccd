"""What an open update knows that its view leaves out, so that it can be started anew.

The view goes without certificates, requests, answered actions and decisions: each publication would
carry them all. The texts are with the lanes; answers and decisions are kept here until the update
ends, each once; then the journal has the answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import Memory, Update, UpdateLane
from cardflow.db.views import view_of
from cardflow.model import Lane, UpdateState


class Remembered(StrEnum):
    """What kind of thing is remembered."""

    ANSWER = "answer"  # by the action's id
    DECISION = "decision"  # by the digest of what was decided on


async def remember(
    session: AsyncSession, update_id: str, kind: Remembered, words: Mapping[str, str]
) -> None:
    """Leave the words under their names; what is there already stays."""
    known = await recall(session, update_id, kind) if words else {}
    for name, text in words.items():
        if name not in known:
            session.add(Memory(update_id=update_id, kind=kind, name=name, words=text))
    await session.flush()


async def recall(session: AsyncSession, update_id: str, kind: Remembered) -> dict[str, str]:
    """Return what is remembered of one kind."""
    query = select(Memory).where(col(Memory.update_id) == update_id, col(Memory.kind) == kind)
    return {row.name: row.words for row in await session.scalars(query)}


async def forget(session: AsyncSession, update_id: str) -> None:
    """Leave nothing: the update has ended, and the journal answers repeats."""
    await session.execute(delete(Memory).where(col(Memory.update_id) == update_id))


async def state_of(session: AsyncSession, row: Update) -> UpdateState:
    """Return the whole state of the update as it was last published."""
    return replace(
        (await states_of(session, [row]))[row.id],
        answered=await recall(session, row.id, Remembered.ANSWER),
        decisions=await recall(session, row.id, Remembered.DECISION),
    )


async def states_of(session: AsyncSession, rows: Sequence[Update]) -> dict[str, UpdateState]:
    """Return the states of updates with their certificates and requests, by the updates' ids."""
    stored = select(UpdateLane).where(col(UpdateLane.update_id).in_([row.id for row in rows]))
    texts = {(lane.update_id, lane.lane): lane for lane in await session.scalars(stored)}
    return {row.id: _with_texts(row, texts) for row in rows}


def _with_texts(row: Update, texts: Mapping[tuple[str, str], UpdateLane]) -> UpdateState:
    state = view_of(row).state
    lanes = [_whole(lane, texts[row.id, lane.plan.lane]) for lane in state.lanes]
    return replace(state, lanes=tuple(lanes))


def _whole(lane: Lane, stored: UpdateLane) -> Lane:
    return replace(lane, csr_pem=stored.csr_pem, certificate_pem=stored.certificate_pem)
