"""Documents, mails and the audit trail: what is on record beside what is really there."""

from dataclasses import replace

from sqlalchemy import func, select
from sqlmodel import col
from temporalio.service import RPCError, RPCStatusCode

from cardflow.ca.tables import CaRequest
from cardflow.checkpoint_files import exported_to
from cardflow.db.mail_queue import left_of_updates
from cardflow.db.tables import AuditEntry, Document, Update
from cardflow.db.views import input_of, view_of
from cardflow.decisions import utc_now
from cardflow.documents.store import Damaged
from cardflow.errors import Refused
from cardflow.model import Lane, LaneStage
from cardflow.orders import MailOrder, request_id
from cardflow.reconcile.findings import Difference, Finding
from cardflow.reconcile.installation import Installation, workflow_id
from cardflow.sql import looking
from cardflow.temporal.deliveries import DELIVERY, LATE, once_more, updates_with_delivery

CA_ANSWERED = "ca_answered"
PAGE = 500


async def compare_trail(there: Installation) -> list[Finding]:
    """Return whether a checkpoint that left the house covers more than the audit trail has."""
    outside = exported_to(there.checkpoint_dir) if there.checkpoint_dir.is_dir() else 0
    async with looking(there.sessions) as session:
        last = await session.scalar(select(func.max(col(AuditEntry.number)))) or 0
    if outside <= last:
        return []
    return [
        Finding(
            Difference.RECORD_CUT,
            str(last),
            f"The audit trail ends at entry {last}, and a checkpoint in {there.checkpoint_dir} "
            f"covers {outside}: the database was restored from an older copy.",
            "`--apply` brings back what Temporal knows, under new numbers; note the day, and move "
            f"the checkpoints out of {there.checkpoint_dir} to where the auditors keep them",
        )
    ]


async def compare_requests(there: Installation) -> list[Finding]:
    """Return the open updates that wait for an answer to a request which the CA has not."""
    async with looking(there.sessions) as session:
        rows = (await session.scalars(select(Update).where(col(Update.ended_at).is_(None)))).all()
        waiting = [
            (row, lane)
            for row in rows
            for lane in view_of(row).state.lanes
            if lane.stage is LaneStage.AT_CA and lane.ca_handle
        ]
        lost = [x for x in waiting if not await session.get(CaRequest, _name(*x))]
    return [await _lost_request(there, row, lane) for row, lane in lost]


def _name(row: Update, lane: Lane) -> str:
    return request_id(input_of(row), lane)


async def _lost_request(there: Installation, row: Update, lane: Lane) -> Finding:
    found = Finding(
        Difference.REQUEST_NOT_AT_CA,
        _name(row, lane),
        f"Update {row.id} waits for the CA's answer to {_name(row, lane)}, which the CA does not "
        "know: its tables were restored from an older copy.",
        "it asks anew under the same name at its next poll; `--apply` has it ask now",
    )
    if not there.apply:
        return found
    handle = there.client.get_workflow_handle(workflow_id(row.card_id))
    try:
        await handle.signal(CA_ANSWERED, lane.plan.lane)  # no failpoint: run again, it compares
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return replace(found, remedy="its workflow is not there: see to that first, it asks then")
    return replace(found, mended="the update asks anew")


async def compare_documents(there: Installation) -> list[Finding]:
    """Return the documents on record that the store does not give back whole."""
    query = select(Document).order_by(col(Document.id))
    if not there.every_document:
        query = query.join(Update, col(Update.id) == col(Document.update_id))
        query = query.where(col(Update.ended_at).is_(None))
    async with looking(there.sessions) as session:
        rows = (await session.scalars(query)).all()
    return [found for row in rows if (found := await _document(there, row))]


async def _document(there: Installation, row: Document) -> Finding | None:
    try:
        await there.documents.get(row.sha256)
    except (Refused, Damaged) as error:
        return Finding(
            Difference.DOCUMENT_MISSING,
            row.id,
            f"Document {row.id} ({row.kind}, {row.direction}) of update {row.update_id}: {error}.",
            "restore the document store from its backup; until then have it handed in again",
        )
    return None


async def compare_mails(there: Installation) -> list[Finding]:
    """Return the updates whose mails wait although nothing delivers them."""
    async with looking(there.sessions) as session:
        waiting = await left_of_updates(session, utc_now() - LATE)
    under_way = await updates_with_delivery(there.client) if waiting else set()
    return [await _stuck(there, *left) for left in waiting.items() if left[0] not in under_way]


async def _stuck(there: Installation, update_id: str, mails: list[str]) -> Finding:
    several = len(mails) > 1
    say = f"{len(mails)} mails of update {update_id} wait, and nothing delivers them."
    if not several:
        say = f"A mail of update {update_id} waits, and nothing delivers it."
    found = Finding(Difference.MAIL_STUCK, update_id, say, "`--apply` has it delivered")
    if not there.apply:
        return found
    if await there.order(DELIVERY, MailOrder(tuple(mails)), id=once_more(update_id)):
        return replace(found, mended="the delivery was ordered")
    return replace(found, mended="a delivery is at work")
