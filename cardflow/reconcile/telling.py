"""Telling the record again what a workflow's history holds, as the workflow told it the first time.

Each event counts once whatever is repeated. Mails that the workflow had sent are not sent again.
"""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.register_updates import answer_to, find_document, find_update, journalled
from cardflow.db.tables import Document, JournalAnswer, JournalEntry, Mail
from cardflow.db.views import text_of
from cardflow.decisions import peek
from cardflow.documents.store import Damaged
from cardflow.errors import Refused
from cardflow.model import Act, Event, EventKind, Reply
from cardflow.orders import Publication
from cardflow.reconcile.histories import Told
from cardflow.reconcile.installation import Installation
from cardflow.sql import looking, transaction

MEDIA_TYPES = {b"%PDF": "application/pdf", b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}
ENOUGH_BYTES = 8


async def tell_record(there: Installation, told: Told, *, after: int) -> None:
    """Leave everything on record that was told beyond event ``after``: effects and evidence."""
    await _keep_token(
        there, told.update.token, "the update is open", told.said[0] if told.said else None
    )
    for said in told.said:
        if said.view.state.events > after:
            for event in said.events:
                await _keep_what_came_with(there, said, event)
            mails = await there.record.publish(said)
            await _mark_sent(there, mails, said.events[-1].at)


async def _keep_what_came_with(there: Installation, said: Publication, event: Event) -> None:
    if event.kind is EventKind.DOCUMENT_RECEIVED:
        await _keep_document(there, said, event)
    if event.token:
        answer = said.answers.get(peek(event.token).id, "")
        await _keep_token(there, event.token, answer, said)


async def _keep_token(
    there: Installation, token: str, message: str, said: Publication | None
) -> None:
    """Leave the action in the journal, with its yes: evidence is checked against it."""
    action = peek(token)
    if said is None or action.act is Act.RESUME:
        return
    async with transaction(there.sessions) as session:  # no failpoint: what is told counts once
        if await journalled(session, action.id) is None:
            session.add(_entry(token))
            await session.flush()
        if await answer_to(session, action.id) is None:
            reply = text_of(Reply(said.view.stage, message, action.id))
            session.add(
                JournalAnswer(
                    action_id=action.id, accepted=True, answer=reply, recorded_at=action.at
                )
            )


def _entry(token: str) -> JournalEntry:
    action = peek(token)
    return JournalEntry(
        action_id=action.id, update_id=action.update_id, token=token, recorded_at=action.at
    )


async def _keep_document(there: Installation, said: Publication, event: Event) -> None:
    """Leave the row of a document that came in, if the store still has the document."""
    async with looking(there.sessions) as session:
        if await find_document(session, event.facts["document_id"]):
            return
    try:
        content = await there.documents.get(event.facts["sha256"])
    except (Refused, Damaged):
        return  # it is named among the documents that are missing
    async with transaction(there.sessions) as session:  # no failpoint: what is told counts once
        if await find_update(session, said.view.update_id):
            session.add(_document(said, event, content))


def _document(said: Publication, event: Event, content: bytes) -> Document:
    facts = event.facts
    return Document(
        id=facts["document_id"],
        update_id=said.view.update_id,
        lane=event.lane,
        kind=facts["kind"],
        direction="received",
        state="checking",
        sha256=facts["sha256"],
        size=len(content),
        media_type=_media_type(content),
        means=facts["means"],
        note="recorded again from what the workflow knew",
        submitted_by=event.actor,
        created_at=event.at,
    )


def _media_type(content: bytes) -> str:
    begin = content[:ENOUGH_BYTES]
    found = (kind for magic, kind in MEDIA_TYPES.items() if begin.startswith(magic))
    return next(found, "application/octet-stream")


async def _mark_sent(there: Installation, mails: list[str], at: datetime) -> None:
    async with transaction(there.sessions) as session:  # no failpoint: what is told counts once
        await _sent(session, mails, at)


async def _sent(session: AsyncSession, mails: list[str], at: datetime) -> None:
    again = update(Mail).where(col(Mail.id).in_(mails), col(Mail.state) == "queued")
    await session.execute(again.values(state="sent", sent_at=at))
