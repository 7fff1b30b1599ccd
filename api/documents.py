"""Forms to sign and what comes back: printing, handing in, taking back, looking."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Response, UploadFile
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.actions import take
from api.auth import may
from api.authorize import Caller, Permission, Scope, authorize, grants, owner_of
from api.form_printing import known_language, print_form
from api.handing_in import Arrival, hand_in
from api.idempotency import GivenKey
from api.paging import Page
from api.problems import Problem, invalid, not_found, problems, refused
from api.routing import GuardedRoute, Reading
from api.shapes import Id, Out
from api.state import Everything, State
from api.update_shapes import PersonRef
from api.update_views import Looked, look
from cardflow.db.register_identity import find_person
from cardflow.db.register_updates import documents_of, find_document, find_update, names_of
from cardflow.db.tables import Document, Update
from cardflow.decisions import utc_now
from cardflow.documents.store import Damaged
from cardflow.lifecycle import lane_of
from cardflow.model import (
    Act,
    Action,
    DocumentKind,
    Lane,
    LaneStage,
    Means,
    Role,
    Stage,
    new_id,
)
from cardflow.sql import let_go, transaction

LONGEST_NOTE = 1_000
CONTENT_POLICY = "sandbox; default-src 'none'"
REQUEST_STAGES = (LaneStage.AWAITING_REQUEST_FORM, LaneStage.CHECKING_REQUEST_FORM)
SUFFIXES = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}

router = APIRouter(tags=["documents"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_DOCUMENTS))]
Sender = Annotated[Caller, Depends(may(Permission.SUBMIT_DOCUMENT))]
Withdrawer = Annotated[Caller, Depends(may(Permission.WITHDRAW_DOCUMENT))]
LaneName = Annotated[str, StringConstraints(max_length=64, pattern="^[a-z0-9-]+$")]
Note = Annotated[
    str, StringConstraints(max_length=LONGEST_NOTE, pattern=r"^[^\x00-\x08\x0b-\x1f]*$")
]


class DocumentOut(Out):
    """A form that went out, or a document that came in and what the machine saw in it."""

    id: str
    update_id: str
    lane: str
    revision: int
    kind: DocumentKind
    direction: Literal["issued", "received"]
    state: str
    sha256: str
    size: int
    media_type: str
    file_name: str
    means: str
    note: str
    findings: dict[str, Any]
    submitted_by: PersonRef | None
    created_at: datetime


class HandedInOut(DocumentOut):
    """A document that counts, and what it led to."""

    stage: Stage
    message: str


@router.get(
    "/updates/{update_id}/lanes/{lane}/form",
    operation_id="print_form",
    response_class=Response,
    responses={
        200: {"content": {"application/pdf": {}}, "description": "The form to print and sign"},
        **problems(404, 409),
    },
)
async def show_form(
    *,
    update_id: Id,
    lane: LaneName,
    caller: Reader,
    state: Everything,
    language: Literal["en", "de"] | None = None,
) -> Response:
    """Return the form that the lane waits for or has under check; the same one each time."""
    looked = await looked_at(state, caller, update_id, Permission.SEE_DOCUMENTS)
    wanted = lane_in(looked, lane)
    if _sees_requests_only(caller, looked.row) and wanted.stage not in REQUEST_STAGES:
        raise not_found("form")
    async with transaction(state.reads) as session:
        holder = await find_person(session, looked.row.holder_id)
    own = holder.language if holder else ""
    spoken = known_language(language or "", own, state.settings.default_language)
    printed = await print_form(state, looked, wanted, spoken)
    return _download(printed.document, printed.content)


@router.post(
    "/updates/{update_id}/lanes/{lane}/documents",
    status_code=201,
    operation_id="hand_in_document",
    responses=problems(400, 404, 409, 413),
    form_limits={"max_files": 1, "max_fields": 5, "max_part_size": 16 * 1024},
)
async def hand_in_document(
    *,
    update_id: Id,
    lane: LaneName,
    caller: Sender,
    state: Everything,
    key: GivenKey,
    file: Annotated[UploadFile | None, File(description="A scan: PDF, JPEG or PNG.")] = None,
    means: Annotated[Means | None, Form(description="Operators: how it came.")] = None,
    note: Annotated[Note, Form(description="Operators: what is on record elsewhere.")] = "",
) -> HandedInOut:
    """Hand in a signed form; an operator may record one that came by other means."""
    looked = await looked_at(state, caller, update_id, Permission.SUBMIT_DOCUMENT)
    role = authorize(caller, Permission.SUBMIT_DOCUMENT, looked.row).role
    arrival = Arrival(
        caller=caller,
        role=role,
        means=_means(role, means),
        note=note.strip(),
        content=await file.read() if file else None,
        file_name=clean_name(file.filename or "") if file else "",
        key=key,
    )
    _check(arrival)
    done = await hand_in(state, looked, lane_in(looked, lane), arrival)
    async with transaction(state.reads) as session:
        names = await names_of(session, {done.document.submitted_by})
    document = _shown(done.document, names)
    reply = done.taken.reply
    return HandedInOut(**document.__dict__, stage=reply.stage, message=reply.message)


@router.delete(
    "/updates/{update_id}/lanes/{lane}/documents/{document_id}",
    status_code=204,
    operation_id="withdraw_document",
    responses=problems(404, 409),
)
async def withdraw_document(
    update_id: Id, lane: LaneName, document_id: Id, caller: Withdrawer, state: Everything
) -> None:
    """Take back a document that is still under check; the record of it stays."""
    needed = Permission.WITHDRAW_DOCUMENT
    looked = await looked_at(state, caller, update_id, needed)
    document = lane_in(looked, lane).document
    if document is None or document.id != document_id:
        raise refused(["this document is not under check"])
    action = Action(
        id=new_id(),
        act=Act.WITHDRAW_DOCUMENT,
        update_id=looked.row.id,
        actor=caller.person,
        role=authorize(caller, needed, looked.row).role,
        at=utc_now(),
        lane=lane,
    )
    await take(state, looked.row.card_id, action)


@router.get(
    "/updates/{update_id}/documents", operation_id="list_documents", responses=problems(404)
)
async def show_documents(update_id: Id, caller: Reader, session: Reading) -> Page[DocumentOut]:
    """List the forms that went out and the documents that came in."""
    row = await _visible(session, caller, update_id)
    found = [d for d in await documents_of(session, row.id) if is_shown(caller, row, d)]
    names = await names_of(session, {document.submitted_by for document in found})
    return Page(items=[_shown(document, names) for document in found])


@router.get(
    "/documents/{document_id}/content",
    operation_id="fetch_document",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}, "description": "The document, byte by byte as it came in"},
        **problems(404),
    },
)
async def show_content(
    document_id: Id, caller: Reader, session: Reading, state: Everything
) -> Response:
    """Return a document exactly as it came in, for saving."""
    document = await visible_document(session, caller, document_id)
    await let_go(session)
    return _download(document, await content_of(state, document))


async def visible_document(session: AsyncSession, caller: Caller, document_id: str) -> Document:
    """Return the document if the caller may look at it, else raise Problem 404."""
    document = await find_document(session, document_id)
    row = await find_update(session, document.update_id) if document else None
    if document is None or row is None:
        raise not_found("document")
    authorize(caller, Permission.SEE_DOCUMENTS, row)
    if not is_shown(caller, row, document):
        raise not_found("document")
    return document


async def content_of(state: State, document: Document) -> bytes:
    """Return the document's bytes, or raise Problem 503 when they are not what they were."""
    try:
        return await state.store.get(document.sha256)
    except Damaged as error:
        raise Problem(503, str(error), slug="document-damaged") from error


async def looked_at(state: State, caller: Caller, update_id: str, needed: Permission) -> Looked:
    """Return the update as of now if the caller may do this to it, else raise Problem."""
    async with transaction(state.reads) as session:
        row = await find_update(session, update_id)
    if row is None:
        raise not_found("update")
    authorize(caller, needed, row)
    return await look(state, row)


async def _visible(session: AsyncSession, caller: Caller, update_id: str) -> Update:
    row = await find_update(session, update_id)
    if row is None:
        raise not_found("update")
    authorize(caller, Permission.SEE_DOCUMENTS, row)
    return row


def lane_in(looked: Looked, name: str) -> Lane:
    """Return the update's lane of this name, or raise Problem 404."""
    try:
        return lane_of(looked.view.state, name)
    except KeyError:
        raise not_found("lane") from None


def _means(role: Role, given: Means | None) -> Means:
    if role is Role.HOLDER and given not in (None, Means.PORTAL):
        raise invalid("means", "only operators record what came by other means")
    return given or Means.PORTAL


def _check(arrival: Arrival) -> None:
    if arrival.role is Role.HOLDER and arrival.note:
        raise invalid("note", "only operators add notes")
    if arrival.content is None and (arrival.role is Role.HOLDER or not arrival.note):
        remedy = "attach the scan; an operator may say in a note where the paper is instead"
        raise invalid("file", "missing", remedy)


def _sees_requests_only(caller: Caller, row: Update) -> bool:
    """CA officers see what they decide on: requests, not what comes after them."""
    if owner_of(row) == caller.id:
        return False
    any_scope = [g for g in grants(caller, Permission.SEE_DOCUMENTS) if g.scope is Scope.ANY]
    return all(grant.role is Role.OFFICER for grant in any_scope)


def is_shown(caller: Caller, row: Update, document: Document) -> bool:
    if document.state == "refused":
        return False
    return document.kind == DocumentKind.REQUEST_FORM or not _sees_requests_only(caller, row)


def _shown(document: Document, names: dict[str, str]) -> DocumentOut:
    by = document.submitted_by
    return DocumentOut(
        **document.model_dump(exclude={"findings", "submitted_by"}),
        findings=json.loads(document.findings),
        submitted_by=PersonRef(id=by, name=names.get(by, "")) if by else None,
    )


def _download(document: Document, content: bytes) -> Response:
    suffix = SUFFIXES.get(document.media_type, "txt")
    name = f"{document.lane}-{document.kind}-{document.sha256[:8]}.{suffix}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": CONTENT_POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=document.media_type, headers=headers)


def clean_name(name: str) -> str:
    """Return the last part of a file's name, as text that is safe to show."""
    last = re.split(r"[\\/]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:255]
