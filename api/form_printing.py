"""The forms of a lane: rendered once from the update's own facts, and the same bytes ever after."""

import json
import uuid
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from api.problems import refused
from api.state import State
from api.update_views import Looked
from cardflow.db.register_identity import find_person
from cardflow.db.register_updates import issued_forms, lanes_of
from cardflow.db.tables import Document, Person
from cardflow.decisions import utc_now
from cardflow.documents import qr
from cardflow.documents.forms import (
    CertificateFacts,
    FormData,
    render_certificate_form,
    render_request_form,
    signature_box,
)
from cardflow.documents.pictures import pages_of
from cardflow.documents.qr import DocumentIdentity
from cardflow.documents.texts import TEXTS
from cardflow.failpoints import effect
from cardflow.jobs import SignatureBox
from cardflow.lifecycle import document_kind, form_signature
from cardflow.model import DocumentExchange, DocumentKind, Lane
from cardflow.policy import AWAITING, CHECKING
from cardflow.sql import transaction
from cardflow.wire import from_json, to_json
from cardflow.x509 import facts_of_certificate

NAMESPACE = uuid.UUID("2f5b8d54-4a3d-5a86-9a0c-1de0e7b0c8b1")
PDF = "application/pdf"
NO_FORM = "no form is awaited here now"


@dataclass(frozen=True)
class Printed:
    """A form as it was, or is now, printed."""

    document: Document
    content: bytes


def awaited_kind(lane: Lane) -> DocumentKind | None:
    """Return which form the lane waits for or has under check."""
    return document_kind(lane.stage) if lane.stage in (*AWAITING, *CHECKING) else None


def identity_of(update_id: str, lane: Lane, kind: DocumentKind) -> DocumentIdentity:
    """Return what the code on the form says; it is the same in every language."""
    name = f"{update_id}/{lane.plan.lane}/{kind}/{lane.revision}"
    return DocumentIdentity(str(uuid.uuid5(NAMESPACE, name)), lane.revision)


async def print_form(state: State, looked: Looked, lane: Lane, language: str) -> Printed:
    """Return the form in this language; its first printing is kept and given from then on."""
    issued = await _issued(state, looked, lane)
    kind = awaited_kind(lane)
    if kind is None:
        earlier = next((x for x in reversed(issued) if _is_in(x, language)), None)
        if document := earlier or next(reversed(issued), None):
            return Printed(document, await state.store.get(document.sha256))
        raise refused([NO_FORM])
    for document in issued:
        if _is_in(document, language) and _is_of(document, kind, lane):
            return Printed(document, await state.store.get(document.sha256))
    identity = identity_of(looked.row.id, lane, kind)
    is_first = identity.document_id not in {document.id for document in issued}
    # The printing in another language is a document of its own with the same code on it.
    name = uuid.uuid5(NAMESPACE, f"{identity.document_id}/{language}")
    document_id = identity.document_id if is_first else str(name)
    return await _print(state, looked, lane, language, document_id)


async def forms_of(state: State, looked: Looked, lane: Lane) -> list[Document]:
    """Return every printing of the form that the lane is about now."""
    kind = awaited_kind(lane)
    return [x for x in await _issued(state, looked, lane) if kind and _is_of(x, kind, lane)]


def box_of(document: Document) -> SignatureBox | None:
    """Return where the form is signed; forms that were printed long ago did not say it."""
    told = json.loads(document.findings).get("signature_box")
    return from_json(SignatureBox, told) if told else None


async def _issued(state: State, looked: Looked, lane: Lane) -> list[Document]:
    async with transaction(state.reads) as session:
        return await issued_forms(session, looked.row.id, lane.plan.lane)


async def _print(
    state: State, looked: Looked, lane: Lane, language: str, document_id: str
) -> Printed:
    kind = document_kind(lane.stage)
    content, box = await _rendered(state, looked, lane, language)
    with effect("api.store_form"):
        stored = await state.store.put(content, limit=state.settings.upload_limit_bytes)
    document = Document(
        id=document_id,
        update_id=looked.row.id,
        lane=lane.plan.lane,
        revision=lane.revision,
        kind=kind,
        direction="issued",
        state="issued",
        sha256=stored.sha256,
        size=stored.size,
        media_type=PDF,
        file_name=_file_name(lane, kind, language),
        findings=json.dumps({"pages": pages_of(content), "signature_box": to_json(box)}),
        created_at=utc_now(),
    )
    try:
        with effect("api.record_form"):
            async with transaction(state.sessions) as session:
                session.add(document)
    except IntegrityError:
        # Somebody printed it at the same moment: that printing is the form.
        return await print_form(state, looked, lane, language)
    return Printed(document, content)


async def _rendered(
    state: State, looked: Looked, lane: Lane, language: str
) -> tuple[bytes, SignatureBox]:
    async with transaction(state.reads) as session:
        holder = await find_person(session, looked.row.holder_id)
        texts = (await lanes_of(session, looked.row.id)).get(lane.plan.lane)
    if document_kind(lane.stage) is DocumentKind.REQUEST_FORM:
        data = _data(state, looked, lane, holder, language=language)
        return await render_request_form(data), await signature_box(data)
    pem = lane.certificate_pem or (texts.certificate_pem if texts else "")
    data = _data(state, looked, lane, holder, language=language, certificate=_facts(pem))
    return await render_certificate_form(data), await signature_box(data)


def _data(
    state: State,
    looked: Looked,
    lane: Lane,
    holder: Person | None,
    *,
    language: str,
    certificate: CertificateFacts | None = None,
) -> FormData:
    settings, policy = state.settings, looked.update.policy
    identity = identity_of(looked.row.id, lane, document_kind(lane.stage))
    ring = state.keys.qr
    profile = state.profiles.get(lane.plan.lane)
    in_portal = policy.document_exchange is DocumentExchange.PORTAL
    return FormData(
        identity=identity,
        code=qr.make(settings.public_url, identity, key=ring.key(ring.current)),
        update_id=looked.row.id,
        organisation=settings.organisation,
        holder_name=holder.name if holder else "",
        holder_email=holder.email if holder else "",
        card=looked.update.token_label or looked.update.token_serial,
        profile=profile.title if profile else lane.plan.lane,
        subject=lane.plan.subject,
        key_type=lane.plan.key_type,
        spki_sha256=lane.spki_sha256,
        policy_name=policy.title or policy.name,
        policy_version=policy.version,
        requested_at=looked.update.opened_at.replace(microsecond=0),
        contact=policy.contact,
        portal=settings.public_url if in_portal else "",
        certificate=certificate,
        language=language,
        signature=form_signature(lane.plan, document_kind(lane.stage)),
    )


def _facts(pem: str) -> CertificateFacts:
    facts = facts_of_certificate(pem)
    return CertificateFacts(facts.serial_number, facts.issuer, facts.not_before, facts.not_after)


def known_language(*wished: str) -> str:
    """Return the first wish that forms are made in; without one, English."""
    return next((language for language in wished if language in TEXTS), "en")


def _file_name(lane: Lane, kind: DocumentKind, language: str) -> str:
    return f"{lane.plan.lane}.{kind}.{language}.pdf"


def _is_in(document: Document, language: str) -> bool:
    return document.file_name.endswith(f".{language}.pdf")


def _is_of(document: Document, kind: DocumentKind, lane: Lane) -> bool:
    return document.kind == kind and document.revision == lane.revision
