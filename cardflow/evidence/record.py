"""What an installation knows of one update, as its evidence needs it; and what decisions showed."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from cardflow.chain import Link
from cardflow.checkpoints import Checkpoint
from cardflow.jobs import write_message
from cardflow.model import Action, DocumentKind, DocumentRef, EventKind, Lane, UpdateInput
from cardflow.policy import canonical_text, decision_facts


@dataclass(frozen=True)
class Inclusion:
    """Where an entry stands in its checkpoint's tree, and the digests that lead to the root."""

    number: int
    checkpoint: int
    index: int
    size: int
    path: tuple[str, ...]


@dataclass(frozen=True)
class DocumentFacts:
    """A form that went out or a document that came in; ``file`` is its member's name."""

    file: str
    id: str
    lane: str
    revision: int
    kind: str
    direction: str
    state: str
    sha256: str
    size: int
    media_type: str
    means: str
    note: str
    findings: str  # JSON: what the machine saw, an electronic signature too
    submitted_by: str
    created_at: datetime


@dataclass(frozen=True)
class OfficersWord:
    """What one officer said to a request, and when."""

    officer: str
    verdict: str
    reason: str
    digest: str
    at: datetime


@dataclass(frozen=True)
class RequestFacts:
    """What the CA answered to a request; ``shown`` is the JSON text that officers decided on."""

    id: str
    lane: str
    state: str
    reason: str
    serial_number: str
    submitted_at: datetime
    ended_at: datetime | None
    words: tuple[OfficersWord, ...]
    shown: str


@dataclass(frozen=True)
class MailFacts:
    """A mail about the update and what became of it; addresses stay in the register."""

    event: int
    kind: str
    person: str
    subject: str
    message_id: str
    state: str
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class Record:
    """Everything that belongs into one update's evidence, but the documents' bytes."""

    update: UpdateInput
    opened: str  # the update's input as canonical JSON, as it was signed when it was opened
    organisation: str
    links: tuple[Link, ...]
    inclusions: tuple[Inclusion, ...]
    checkpoints: tuple[Checkpoint, ...]
    tokens: tuple[str, ...]
    documents: tuple[DocumentFacts, ...]
    requests: tuple[RequestFacts, ...]
    mails: tuple[MailFacts, ...]
    names: dict[str, str]  # of people, by id
    ca_chain: tuple[str, ...]  # PEM, from the issuing CA to the root


@dataclass(frozen=True)
class Happened:
    """An entry of the audit trail as it is told: an event of the workflow, or what came beside."""

    number: int
    event: int | None
    at: datetime
    kind: str
    lane: str
    actor: str
    facts: dict[str, object]
    token: str


def happened(links: Iterable[Link]) -> list[Happened]:
    """Return what the entries say, in their order."""
    return [_happened(link) for link in links]


def _happened(link: Link) -> Happened:
    told = json.loads(link.text)
    outer = told["facts"]
    return Happened(
        number=link.number,
        event=told["event"],
        at=datetime.fromisoformat(told["at"]),
        kind=told["kind"],
        lane=str(outer.get("lane", "")),
        actor=told["actor"],
        facts=dict(outer.get("facts", outer)),
        token=str(outer.get("token", "")),
    )


def shown_for(update: UpdateInput, story: Iterable[Happened], action: Action, token: str) -> str:
    """Return the text that whoever decided on a document was shown, told by what came before it.

    Its SHA-256 is ``policy.decision_digest``; here the facts come from the entries alone.
    """
    plan = {lane.lane: lane for lane in update.plan.lanes}[action.lane]
    lane = Lane(plan, revision=action.revision)
    for entry in _before(story, token, plan.lane):
        lane = _after(lane, entry)
    return canonical_text(decision_facts(update, lane))


def _after(lane: Lane, entry: Happened) -> Lane:
    facts = {name: str(value) for name, value in entry.facts.items()}
    match entry.kind:
        case EventKind.KEY_PREPARED:
            return replace(lane, spki_sha256=facts["spki_sha256"])
        case EventKind.CERTIFICATE_ISSUED:
            return replace(lane, certificate_sha256=facts["certificate_sha256"])
        case EventKind.DOCUMENT_RECEIVED:
            kind = DocumentKind(facts["kind"])
            return replace(lane, document=DocumentRef(facts["document_id"], kind, facts["sha256"]))
        case EventKind.DOCUMENT_REJECTED | EventKind.DOCUMENT_WITHDRAWN:
            return replace(lane, document=None)
    return lane


def _before(story: Iterable[Happened], token: str, lane: str) -> Iterator[Happened]:
    for entry in story:
        if entry.token == token:
            return
        if entry.lane == lane:
            yield entry


def proven(entry: Happened) -> bytes:
    """Return the bytes that the key on the card signed when its certificate was written."""
    nonce, certificate, serial = (
        str(entry.facts[name]) for name in ("nonce", "certificate_sha256", "token_serial")
    )
    return write_message(nonce, bytes.fromhex(certificate), serial)
