"""Handing in a signed form: examined first, stored, then put before the update."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Any

from sqlalchemy import update as change
from sqlmodel import col

from api.actions import Taken, said_before, take
from api.authorize import Caller
from api.form_printing import NO_FORM, awaited_kind, forms_of, identity_of
from api.idempotency import HEADER, id_for
from api.problems import FieldProblem, Problem, invalid, refused
from api.signature_checks import trust_of, verdict_of, with_signer
from api.state import State
from api.update_views import Looked
from cardflow.db.register_updates import find_document
from cardflow.db.tables import Document
from cardflow.decisions import utc_now
from cardflow.documents.intake import IntakeFindings, Limits, inspect_upload
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.model import (
    Act,
    Action,
    DocumentKind,
    DocumentRef,
    Lane,
    Means,
    Role,
    SignatureFound,
)
from cardflow.policy import as_it_may_be_signed, objections
from cardflow.sql import first_kept, transaction
from cardflow.stores import scanner_of

ARRIVING = "arriving"  # stored, and not yet accepted by the update
RECORD = "text/plain; charset=utf-8"
ENDINGS = {
    "application/pdf": (".pdf",),
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
}
OF_ONE_REQUEST = ("update_id", "lane", "revision", "kind", "sha256", "means")
RECORDED = {"media_type": RECORD, "notes": ["recorded without a file"]}


@dataclass(frozen=True)
class Arrival:
    """What somebody hands in: a file, or an operator's note of a paper that is kept elsewhere."""

    caller: Caller
    role: Role
    means: Means
    note: str = ""
    content: bytes | None = None
    file_name: str = ""
    key: str | None = None


@dataclass(frozen=True)
class HandedIn:
    """A document that counts, and what the update said to it."""

    document: Document
    taken: Taken


async def hand_in(state: State, looked: Looked, lane: Lane, arrival: Arrival) -> HandedIn:
    """Have the document before the update, or raise Problem; what is refused leaves nothing."""
    async with transaction(state.reads) as session:
        earlier = await said_before(session, arrival.caller, arrival.key)
    content = arrival.content or _record(looked, lane, arrival, earlier)
    action = _action(looked, lane, arrival, hashlib.sha256(content).hexdigest())
    if earlier:
        return await _submit(state, looked, _repeated(earlier, action))
    _check(looked, action)
    found = await _inspected(state, looked, lane, arrival)
    action = _as_signed(action, verdict_of(found) if found else SignatureFound.NONE)
    _check(looked, action)
    findings = asdict(found) if found else RECORDED
    await _store(state, action, arrival, content, findings)
    return await _submit(state, looked, action)


def _check(looked: Looked, action: Action) -> None:
    if found := objections(looked.update, looked.view.state, action):
        raise refused(found)


def _as_signed(action: Action, signature: SignatureFound) -> Action:
    assert action.document is not None  # noqa: S101 _action made it
    return replace(action, document=replace(action.document, signature=signature))


def _action(looked: Looked, lane: Lane, arrival: Arrival, sha256: str) -> Action:
    kind = awaited_kind(lane)
    now = utc_now()
    document = DocumentRef(
        id=document_id_for(arrival),
        kind=kind or DocumentKind.REQUEST_FORM,
        sha256=sha256,
        means=arrival.means,
        submitted_by=arrival.caller.id,
        submitted_at=now,
        signature=as_it_may_be_signed(lane),  # until the document was examined
    )
    return Action(
        id=id_for(arrival.caller, arrival.key),
        act=Act.SUBMIT_DOCUMENT,
        update_id=looked.row.id,
        actor=arrival.caller.person,
        role=arrival.role,
        at=now,
        lane=lane.plan.lane,
        revision=lane.revision,
        document=document,
    )


def document_id_for(arrival: Arrival) -> str:
    """Return the id of the document that arrives; with a key, the same at each try."""
    return id_for(arrival.caller, arrival.key and f"{arrival.key}\ndocument")


def _repeated(earlier: Action, action: Action) -> Action:
    """Return the earlier action over what is handed in now; only the same bytes are a repeat."""
    if earlier.document is None or action.document is None:
        raise _other_request()
    return replace(earlier, document=replace(earlier.document, sha256=action.document.sha256))


async def _inspected(
    state: State, looked: Looked, lane: Lane, arrival: Arrival
) -> IntakeFindings | None:
    if arrival.content is None:
        return None
    kind = awaited_kind(lane)
    if kind is None:
        raise refused([NO_FORM])
    is_signed = b"/ByteRange" in arrival.content  # ISO 32000-2 12.8.1
    try:
        found = await inspect_upload(
            arrival.content,
            expected=identity_of(looked.row.id, lane, kind),
            qr_keys=tuple(state.keys.qr.keys.values()),
            limits=Limits(max_bytes=state.settings.upload_limit_bytes),
            issued=await _printings(state, looked, lane) if is_signed else (),
            trust=await trust_of(state) if is_signed else None,
            scanner=scanner_of(state.settings),
        )
    except Refused as refusal:
        raise _not_taken(refusal.objections) from refusal
    if found_against := name_objections(arrival.file_name, found.media_type):
        raise _not_taken(found_against)
    return await with_signer(state, found, looked.row.holder_id)


def name_objections(name: str, media_type: str) -> list[str]:
    """Return what is against a file's name: an ending, if there is one, says what the file is."""
    ending = PurePath(name).suffix.lower()
    expected = ENDINGS[media_type]
    if not ending or ending in expected:
        return []
    holds = expected[0].removeprefix(".").upper()
    return [f"the file is called {ending} and holds a {holds}; name it {expected[0]}"]


async def _printings(state: State, looked: Looked, lane: Lane) -> list[bytes]:
    return [await state.store.get(x.sha256) for x in await forms_of(state, looked, lane)]


def _not_taken(reasons: Sequence[str]) -> Problem:
    found = []
    for reason in reasons:
        what, _, remedy = reason.rpartition("; ")
        found.append(
            FieldProblem(field="file", reason=what or remedy, remedy=remedy if what else "")
        )
    return Problem(422, "; ".join(reasons), *found, slug="document-refused")


async def _store(
    state: State, action: Action, arrival: Arrival, content: bytes, findings: dict[str, Any]
) -> None:
    assert action.document is not None  # noqa: S101 _action made it
    with effect("api.store_document"):
        stored = await state.store.put(content, limit=state.settings.upload_limit_bytes)
    document = Document(
        id=action.document.id,
        update_id=action.update_id,
        lane=action.lane,
        revision=action.revision,
        kind=action.document.kind,
        direction="received",
        state=ARRIVING,
        sha256=stored.sha256,
        size=stored.size,
        media_type=findings["media_type"],
        file_name=arrival.file_name,
        means=arrival.means,
        note=arrival.note,
        findings=json.dumps(findings, ensure_ascii=False),
        submitted_by=action.actor,
        created_at=action.at,
    )
    with effect("api.record_document"):
        kept = await first_kept(state.sessions, document)
    if not _is_same(kept, document):
        raise _other_request()


def _is_same(kept: Document, document: Document) -> bool:
    """Tell whether two records are of one request: whoever decides must see what was signed for."""
    return all(getattr(kept, name) == getattr(document, name) for name in OF_ONE_REQUEST)


def _other_request() -> Problem:
    return invalid(HEADER, "this key was used for another request", "use a new key")


async def _submit(state: State, looked: Looked, action: Action) -> HandedIn:
    assert action.document is not None  # noqa: S101 _action made it
    try:
        taken = await take(state, looked.row.card_id, action)
    except Problem as problem:
        if problem.status == 409:  # noqa: PLR2004 HTTP's own number
            await _mark_refused(state, action.document.id)
        raise
    async with transaction(state.reads) as session:
        document = await find_document(session, action.document.id)
    assert document is not None  # noqa: S101 it was stored before it was submitted
    return HandedIn(document, taken)


async def _mark_refused(state: State, document_id: str) -> None:
    waiting = (col(Document.id) == document_id, col(Document.state) == ARRIVING)
    async with transaction(state.sessions) as session:  # no failpoint: the repeat is refused again
        await session.execute(change(Document).where(*waiting).values(state="refused"))


def _record(looked: Looked, lane: Lane, arrival: Arrival, earlier: Action | None) -> bytes:
    """Return the record of a paper that is kept elsewhere, as the text that is stored for it.

    Which form was awaited at the first try is part of the answer, not of the request.
    """
    first = earlier.document if earlier else None
    awaited = first.kind if first else awaited_kind(lane)
    lines = {
        "Record of a document that came in outside the portal": "",
        "update": looked.row.id,
        "certificate": lane.plan.lane,
        "document": str(awaited or ""),
        "came by": arrival.means,
        "recorded by": arrival.caller.id,
        "note": arrival.note,
    }
    return "".join(f"{k}: {v}\n" if v else f"{k}\n" for k, v in lines.items()).encode()
