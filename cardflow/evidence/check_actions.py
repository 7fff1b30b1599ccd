"""What people did: signed under the root, on exactly what they were shown, by who might."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial

from cardflow.evidence.contents import Contents, Named, Objections
from cardflow.evidence.record import DocumentFacts, Happened, shown_for
from cardflow.model import Act, Action, DocumentRef, EventKind, SignatureFound
from cardflow.policy import four_eyes_objections

DECISIONS = (Act.DECIDE_DOCUMENT, Act.DECIDE_REQUEST)
DECIDED = (EventKind.DOCUMENT_APPROVED, EventKind.DOCUMENT_REJECTED)
REQUEST_DECIDED = "request_decided"


def checks(contents: Contents) -> Iterator[Named]:
    """Yield the checks of actions and documents."""
    for name in contents.tokens:
        yield f"action {name}", partial(_action_objections, contents, name)
    yield "actions, none missing", partial(_missing_actions, contents)
    for facts in contents.documents:
        yield f"document {facts.file}", partial(_document_objections, contents, facts)
    yield "documents, none missing", partial(_missing_documents, contents)


def _action_objections(contents: Contents, name: str) -> Objections:
    action = contents.action(name)
    if action.update_id != contents.update.update_id:
        return ["it is for another update"]
    match action.act:
        case Act.OPEN:
            return _opening_objections(contents, action)
        case Act.SIGN_DOCUMENT:
            return _signing_objections(contents, action)
        case Act.DECIDE_DOCUMENT:
            return [*_document_decision(contents, name, action), *_four_eyes(contents, action)]
        case Act.DECIDE_REQUEST:
            return [*_request_decision(contents, name, action), *_four_eyes(contents, action)]
    return []


def _opening_objections(contents: Contents, action: Action) -> Objections:
    if _sha256(contents.read("update.json")) != action.digest:
        return ["update.json is not what was opened"]
    starts = [e for e in contents.story if e.facts.get("input_sha256")]
    if [e.facts["input_sha256"] for e in starts] != [action.digest]:
        return ["the audit trail says that something else was opened"]
    return [] if action.actor == contents.update.started_by else ["somebody else opened the update"]


def _signing_objections(contents: Contents, action: Action) -> Objections:
    issued = {facts.sha256 for facts in contents.documents if facts.direction == "issued"}
    return [] if action.digest in issued else ["the form that was to be signed is missing"]


def _document_decision(contents: Contents, name: str, action: Action) -> Objections:
    told = shown_for(contents.update, contents.story, action, contents.tokens[name])
    if _sha256(told.encode()) != action.digest:
        return ["it was taken on something else than the audit entries before it say"]
    if contents.read(_shown(name)) != told.encode():
        return [f"{_shown(name)} is not what was decided on"]
    return []


def _request_decision(contents: Contents, name: str, action: Action) -> Objections:
    shown = contents.read(_shown(name))
    if _sha256(shown) != action.digest:
        return [f"{_shown(name)} is not what was decided on"]
    told = json.loads(shown)
    prepared = _last(contents, EventKind.KEY_PREPARED, action.lane)
    found = []
    if told["request"] != f"{action.update_id}:{action.revision}:{action.lane}":
        found.append("it was taken on another request")
    if told["spki"] != prepared.facts["spki_sha256"]:
        found.append("it was taken on another key than the one on the card")
    if told["subject"]["person_id"] != contents.update.holder_id:
        found.append("it was taken on a certificate for somebody else")
    return found


def _four_eyes(contents: Contents, action: Action) -> Objections:
    own = (contents.update.holder_id, contents.update.started_by)
    return four_eyes_objections(action.actor, own)


def _missing_actions(contents: Contents) -> Objections:
    """What the trail says was done must be there as a signed action."""
    actions = contents.actions
    said = {(a.actor, a.digest, str(a.verdict)) for a in actions.values() if a.act in DECISIONS}
    found = []
    for entry in contents.story:
        if entry.token and entry.token not in actions:
            found.append(f"the action behind entry {entry.number}, {entry.kind}")
        if entry.kind in DECIDED and not entry.token and not _by_policy(contents, entry):
            found.append(f"whoever is behind entry {entry.number}, {entry.kind},")
        if entry.kind == REQUEST_DECIDED and _word(entry) not in said:
            found.append(f"the decision behind entry {entry.number}")
    return [f"{what} is missing" for what in found]


def _by_policy(contents: Contents, entry: Happened) -> bool:
    """Tell whether the policy itself may have approved: a document that was well signed."""
    plan = {lane.lane: lane for lane in contents.update.plan.lanes}[entry.lane]
    if not plan.approve_signed or entry.kind != EventKind.DOCUMENT_APPROVED:
        return False
    document = _handed_in(contents).get(str(entry.facts["document_id"]))
    return document is not None and document.signature is SignatureFound.GOOD


def _handed_in(contents: Contents) -> dict[str, DocumentRef]:
    """Return the documents that people handed in, by id, as their signed actions name them."""
    actions = contents.actions.values()
    return {action.document.id: action.document for action in actions if action.document}


def _word(entry: Happened) -> tuple[str, object, object]:
    return entry.actor, entry.facts["digest"], entry.facts["verdict"]


def _document_objections(contents: Contents, facts: DocumentFacts) -> Objections:
    found = []
    content = contents.read(facts.file)
    if _sha256(content) != facts.sha256:
        found.append("it is not the document that its record names")
    if facts.direction == "issued":
        return found
    document = _handed_in(contents).get(facts.id)
    if document is None or document.sha256 != facts.sha256:
        found.append("nobody handed in a document with this digest")
    elif document.signature is SignatureFound.GOOD and not _begins_as_issued(contents, content):
        found.append("it is said to be the issued form, signed, and does not begin with it")
    if (facts.id, facts.sha256) not in _received(contents):
        found.append("the audit trail does not say that it was received")
    return found


def _begins_as_issued(contents: Contents, content: bytes) -> bool:
    """Tell whether a form that went out was signed as it was: a PDF grows at its end."""
    return any(
        content.startswith(contents.read(facts.file))
        for facts in contents.documents
        if facts.direction == "issued"
    )


def _missing_documents(contents: Contents) -> Objections:
    there = {(facts.id, facts.sha256) for facts in contents.documents}
    missing = sorted(_received(contents) - there)
    listed = {facts.file for facts in contents.documents} | {"documents/index.json"}
    return [
        *(f"the document {id_} with SHA-256 {digest} is missing" for id_, digest in missing),
        *(f"{name} has no record" for name in contents.below("documents") if name not in listed),
    ]


def _received(contents: Contents) -> set[tuple[str, str]]:
    return {
        (str(entry.facts["document_id"]), str(entry.facts["sha256"]))
        for entry in contents.story
        if entry.kind == EventKind.DOCUMENT_RECEIVED
    }


def _last(contents: Contents, kind: EventKind, lane: str) -> Happened:
    return [e for e in contents.story if (e.kind, e.lane) == (kind, lane)][-1]


def _shown(name: str) -> str:
    return name.removesuffix(".jws") + ".shown.json"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
