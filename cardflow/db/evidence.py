"""Collecting what the evidence of one update consists of; nothing about any other update."""

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow import merkle
from cardflow.ca.embedded.requests import decisions_on, shown_text
from cardflow.ca.tables import CaCertificate, CaRequest
from cardflow.chain import Link
from cardflow.checkpoints import Checkpoint, read
from cardflow.db import checkpoints
from cardflow.db.audit import COLUMNS
from cardflow.db.register_updates import documents_of, mails_of, names_of
from cardflow.db.tables import AuditEntry, Document, JournalAnswer, JournalEntry, Mail, Update
from cardflow.db.views import input_of
from cardflow.decisions import peek
from cardflow.errors import Refused
from cardflow.evidence.record import (
    DocumentFacts,
    Happened,
    Inclusion,
    MailFacts,
    OfficersWord,
    Record,
    RequestFacts,
    happened,
)
from cardflow.policy import canonical_text

NEVER_COUNTED = ("arriving", "refused")
SUFFIXES = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}


async def is_covered(session: AsyncSession, update_id: str) -> bool:
    """Tell whether every entry of the update is under a checkpoint."""
    links = await _links(session, update_id)
    return bool(links) and await checkpoints.covering(session, links[-1].number) is not None


async def collect(
    session: AsyncSession, row: Update, *, root: str, organisation: str, ca_chain: Sequence[str]
) -> Record:
    """Return the record of an update whose entries are all under a checkpoint."""
    links = await _links(session, row.id)
    signed = await _checkpoints(session, links, root)
    story = happened(links)
    tokens = await _tokens(session, row.id, story)
    documents = [d for d in await documents_of(session, row.id) if d.state not in NEVER_COUNTED]
    requests = await _requests(session, row.id)
    mails = await mails_of(session, row.id)
    people = {row.holder_id, row.started_by, *(link.actor for link in links)}
    people |= {peek(token).actor for token in tokens} | {mail.person_id for mail in mails}
    people |= {document.submitted_by for document in documents}
    return Record(
        update=input_of(row),
        opened=_as_signed(row),
        organisation=organisation,
        links=tuple(links),
        inclusions=tuple(await _inclusions(session, links, signed)),
        checkpoints=tuple(signed),
        tokens=tuple(tokens),
        documents=tuple(_document(n, document) for n, document in enumerate(documents, 1)),
        requests=tuple(requests),
        mails=tuple(map(_mail, mails)),
        names=dict(sorted((await names_of(session, people)).items())),
        ca_chain=tuple(ca_chain),
    )


def _as_signed(row: Update) -> str:
    """Return the input as its opener signed it: as stored, whatever later versions add to it."""
    return canonical_text({**json.loads(row.input), "token": "", "resumed": None})


async def _links(session: AsyncSession, update_id: str) -> list[Link]:
    query = select(*COLUMNS).where(col(AuditEntry.update_id) == update_id)
    rows = await session.execute(query.order_by(col(AuditEntry.number)))
    return [Link._make(row) for row in rows.all()]


async def _checkpoints(session: AsyncSession, links: Sequence[Link], root: str) -> list[Checkpoint]:
    """Return the checkpoints that first covered the entries, each once, in order."""
    found: list[Checkpoint] = []
    for link in links:
        if found and link.number <= found[-1].number:
            continue
        row = await checkpoints.covering(session, link.number)
        if row is None:
            raise Refused(f"entry {link.number} is under no checkpoint yet")
        found.append(read(row.token, root))
    return found


async def _inclusions(
    session: AsyncSession, links: Sequence[Link], signed: Sequence[Checkpoint]
) -> list[Inclusion]:
    done = []
    for checkpoint in signed:
        leaves = await checkpoints.hashes(session, checkpoint.since, checkpoint.number)
        for link in links:
            if checkpoint.since < link.number <= checkpoint.number:
                index = link.number - checkpoint.since - 1
                path = tuple(digest.hex() for digest in merkle.path_to(leaves, index))
                done.append(Inclusion(link.number, checkpoint.number, index, len(leaves), path))
    return done


async def _tokens(session: AsyncSession, update_id: str, story: Sequence[Happened]) -> list[str]:
    """Return the actions that counted, in the order in which they were taken."""
    query = (
        select(col(JournalEntry.token))
        .join(JournalAnswer, col(JournalAnswer.action_id) == col(JournalEntry.action_id))
        .where(col(JournalEntry.update_id) == update_id, col(JournalAnswer.accepted).is_(True))
        .order_by(col(JournalEntry.number))
    )
    journalled = (await session.scalars(query)).all()
    # An action that came as a signal, or whose answer got lost, is on record with its event only.
    known = dict.fromkeys([*journalled, *(entry.token for entry in story if entry.token)])
    return sorted(known, key=lambda token: (peek(token).at, peek(token).id))


async def _requests(session: AsyncSession, update_id: str) -> list[RequestFacts]:
    mine = col(CaRequest.request_id).startswith(f"{update_id}:", autoescape=True)
    rows = await session.scalars(select(CaRequest).where(mine).order_by(col(CaRequest.request_id)))
    return [await _request(session, row) for row in rows.all()]


async def _request(session: AsyncSession, row: CaRequest) -> RequestFacts:
    serial = select(col(CaCertificate.serial_number)).where(
        col(CaCertificate.request_id) == row.request_id
    )
    return RequestFacts(
        id=row.request_id,
        lane=row.request_id.split(":", 2)[2],
        state=row.state,
        reason=row.reason,
        serial_number=await session.scalar(serial) or "",
        submitted_at=row.submitted_at,
        ended_at=row.ended_at,
        words=tuple(
            OfficersWord(d.officer, d.verdict, d.reason, d.digest, d.at)
            for d in await decisions_on(session, row.request_id)
        ),
        shown=shown_text(row),
    )


def _document(number: int, document: Document) -> DocumentFacts:
    suffix = SUFFIXES.get(document.media_type, "txt")
    return DocumentFacts(
        file=f"documents/{number:02}-{document.kind}-{document.direction}.{suffix}",
        id=document.id,
        lane=document.lane,
        revision=document.revision,
        kind=document.kind,
        direction=document.direction,
        state=document.state,
        sha256=document.sha256,
        size=document.size,
        media_type=document.media_type,
        means=document.means,
        note=document.note,
        findings=document.findings,
        submitted_by=document.submitted_by,
        created_at=document.created_at,
    )


def _mail(mail: Mail) -> MailFacts:
    return MailFacts(
        event=mail.event,
        kind=mail.kind,
        person=mail.person_id,
        subject=mail.subject,
        message_id=mail.message_id,
        state=mail.state,
        created_at=mail.created_at,
        sent_at=mail.sent_at,
    )
