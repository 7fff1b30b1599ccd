"""Everything that happened to an update, in order, with what can be checked checked again.

The audit trail leads; beside it stand the signed actions that led to nothing, forms that were
printed, and mails.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import may
from api.authorize import Caller, Permission, Scope, authorize
from api.documents import is_shown
from api.fact_checks import checks_of, document_checks, read_action
from api.fact_shapes import (
    Case,
    DocumentFact,
    FactOut,
    SignedOut,
    Source,
    told_answer,
    told_of,
)
from api.paging import Page
from api.problems import problems
from api.routing import GuardedRoute, Reading
from api.shapes import Id
from api.state import Everything, State
from api.update_shapes import MailOut, PersonRef
from api.update_views import visible_update
from cardflow.db.register_updates import (
    documents_of,
    journal_of,
    lanes_of,
    mails_of,
    names_of,
    timeline,
)
from cardflow.db.tables import AuditEntry, Document, JournalAnswer, JournalEntry, Mail, Update
from cardflow.db.views import input_of
from cardflow.decisions import peek
from cardflow.errors import Unavailable

router = APIRouter(prefix="/updates", tags=["updates"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_UPDATES))]


@router.get("/{update_id}/facts", operation_id="list_facts", responses=problems(404))
async def show_facts(
    update_id: Id, caller: Reader, session: Reading, state: Everything
) -> Page[FactOut]:
    """Return every fact of an update, in order; signatures, proofs and digests are verified again.

    A holder sees what is in the trail; actions that were refused, printed forms and mails are
    for those who look after updates.
    """
    row = await visible_update(session, caller, update_id)
    case = await _case(state, session, caller, row)
    found = await asyncio.to_thread(lambda: list(_happened(case)))
    for fact in found:
        if fact.document and fact.document.direction == "received" and fact.source == Source.AUDIT:
            fact.checks += await document_checks(state.store, fact.document.sha256)
    return Page(items=sorted(found, key=_order))


def _order(fact: FactOut) -> tuple[datetime, int, int]:
    """Of the same instant: first what was said, then what it led to, then who was told."""
    rank = {Source.JOURNAL: 0, Source.AUDIT: 1}.get(fact.source, 2)
    return fact.at, rank, fact.number or 0


async def _case(state: State, session: AsyncSession, caller: Caller, row: Update) -> Case:
    whole = authorize(caller, Permission.SEE_UPDATES).scope is Scope.ANY
    entries, journal = await timeline(session, row.id), await journal_of(session, row.id)
    mails = await mails_of(session, row.id) if whole else []
    documents = {
        document.id: document
        for document in await documents_of(session, row.id)
        if is_shown(caller, row, document)
    }
    people = {
        *(entry.actor for entry in entries),
        *(peek(entry.token).actor for entry, _ in journal),
        *(document.submitted_by for document in documents.values()),
    }
    return Case(
        update=input_of(row),
        root=state.keys.decision_root,
        issuer_pem=await _issuer(state),
        lanes=await lanes_of(session, row.id),
        entries=entries,
        journal=journal,
        documents=documents,
        mails=mails,
        names=await names_of(session, people),
        whole=whole,
    )


async def _issuer(state: State) -> str:
    try:
        return (await state.ca.authority().ca_certificates())[0]
    except Unavailable:
        return ""


def _happened(case: Case) -> Iterator[FactOut]:
    signed = {entry.token: entry for entry, _ in case.journal}
    by_id = {entry.action_id: entry for entry, _ in case.journal}
    told = set()
    for entry in case.entries:
        facts = told_of(entry)
        action = signed.get(facts.token) or by_id.get(facts.facts.get("action_id", ""))
        if action:
            told.add(action.action_id)
        yield _from_trail(case, entry, facts.token or (action.token if action else ""))
    if case.whole:
        rest = [(e, answer) for e, answer in case.journal if e.action_id not in told]
        yield from (_from_journal(case, entry, answer) for entry, answer in rest)
        yield from (_printed(case, d) for d in case.documents.values() if d.direction == "issued")
        yield from (_mailed(mail) for mail in case.mails)


def _from_trail(case: Case, entry: AuditEntry, token: str) -> FactOut:
    told = told_of(entry)
    document = case.documents.get(str(told.facts.get("document_id", "")))
    return FactOut(
        source=Source.AUDIT,
        number=entry.number,
        at=entry.at,
        kind=entry.kind,
        lane=told.lane,
        actor=_person(case, entry.actor),
        facts=told.shown,
        action=_signed(case, token) if token else None,
        document=DocumentFact.of(document) if document else None,
        checks=checks_of(case, entry, told, token),
    )


def _from_journal(case: Case, entry: JournalEntry, answer: JournalAnswer | None) -> FactOut:
    action = peek(entry.token)
    kind = "action_unanswered"
    if answer:
        kind = "action_accepted" if answer.accepted else "action_refused"
    return FactOut(
        source=Source.JOURNAL,
        number=None,
        at=entry.recorded_at,
        kind=kind,
        lane=action.lane,
        actor=_person(case, action.actor),
        facts={"answer": told_answer(answer)} if answer else {},
        action=_signed(case, entry.token),
        document=None,
        checks=[read_action(case, entry.token, action.actor)],
    )


def _printed(case: Case, document: Document) -> FactOut:
    return FactOut(
        source=Source.DOCUMENT,
        number=None,
        at=document.created_at,
        kind="form_printed",
        lane=document.lane,
        actor=_person(case, document.submitted_by),
        facts={},
        action=None,
        document=DocumentFact.of(document),
        checks=[],
    )


def _mailed(mail: Mail) -> FactOut:
    return FactOut(
        source=Source.MAIL,
        number=None,
        at=mail.created_at,
        kind="mail",
        lane="",
        actor=PersonRef(id="", name=""),
        facts={},
        action=None,
        document=None,
        mail=MailOut.model_validate(mail),
        checks=[],
    )


def _signed(case: Case, token: str) -> SignedOut:
    action = peek(token)
    return SignedOut(
        id=action.id,
        act=action.act,
        role=action.role,
        at=action.at,
        verdict=action.verdict,
        reason=action.reason,
        digest=action.digest,
        by=_person(case, action.actor),
    )


def _person(case: Case, person_id: str) -> PersonRef:
    return PersonRef(id=person_id, name=case.names.get(person_id, ""))
