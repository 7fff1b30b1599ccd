"""What a timeline is made of, and the shapes in which people see it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from api.shapes import Out
from api.update_shapes import MailOut, PersonRef
from cardflow.db.tables import (
    AuditEntry,
    Document,
    JournalAnswer,
    JournalEntry,
    Mail,
    UpdateLane,
)
from cardflow.model import Act, DocumentKind, Role, UpdateInput, Verdict

# Bulky, or of use to machines only; the evidence keeps them.
NOT_SHOWN = ("csr_pem", "certificate_pem", "signature", "nonce", "token", "action_id")


class Source(StrEnum):
    """Where a fact is on record."""

    AUDIT = "audit"  # the hash-chained trail
    JOURNAL = "journal"  # signed actions that left no event
    DOCUMENT = "document"
    MAIL = "mail"


class Check(StrEnum):
    """What was verified again for the timeline."""

    SIGNED_ACTION = "signed_action"
    PROOF_OF_POSSESSION = "proof_of_possession"
    ISSUED_BY_CA = "issued_by_ca"
    WRITE_PROOF = "write_proof"
    STORED_BYTES = "stored_bytes"


class CheckedOut(Out):
    """One thing that was verified again just now; ``objections`` say what is wrong."""

    check: Check
    ok: bool
    objections: list[str]

    @classmethod
    def of(cls, check: Check, objections: Sequence[str]) -> Self:
        """Return the check with what it found."""
        return cls(check=check, ok=not objections, objections=list(objections))


class SignedOut(Out):
    """The signed action behind a fact."""

    id: str
    act: Act
    role: Role
    at: datetime
    verdict: Verdict | None
    reason: str
    digest: str
    by: PersonRef


class DocumentFact(Out):
    """The document that a fact is about."""

    id: str
    kind: DocumentKind
    direction: str
    state: str
    sha256: str
    size: int
    media_type: str
    means: str

    @classmethod
    def of(cls, document: Document) -> Self:
        """Return the document as a timeline names it."""
        return cls.model_validate(document)


class FactOut(Out):
    """Something that happened to an update; ``number`` is its place in the audit trail."""

    source: Source
    number: int | None
    at: datetime
    kind: str
    lane: str
    actor: PersonRef
    facts: dict[str, Any]
    action: SignedOut | None
    document: DocumentFact | None
    mail: MailOut | None = None
    checks: list[CheckedOut]


@dataclass(frozen=True)
class Case:
    """Everything on record about an update, and what it is checked against."""

    update: UpdateInput
    root: str
    issuer_pem: str  # empty while there is no CA
    lanes: Mapping[str, UpdateLane]
    entries: Sequence[AuditEntry]
    journal: Sequence[tuple[JournalEntry, JournalAnswer | None]]
    documents: Mapping[str, Document]
    mails: Sequence[Mail]
    names: Mapping[str, str]
    whole: bool


@dataclass(frozen=True)
class Told:
    """What an entry of the trail says."""

    lane: str
    token: str
    facts: Mapping[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """The facts that people read."""
        return {k: v for k, v in self.facts.items() if k not in NOT_SHOWN and v not in ("", None)}


def told_of(entry: AuditEntry) -> Told:
    """Return what the entry says; an update's own events carry theirs one level deeper."""
    told = json.loads(entry.text)["facts"]
    facts = told.get("facts", told)
    lane = str(told.get("lane", ""))
    return Told(lane, str(told.get("token", "")), facts if isinstance(facts, dict) else {})


def told_answer(answer: JournalAnswer) -> str:
    """Return what the action was answered, in words."""
    said = json.loads(answer.answer)
    return str(said["message"]) if isinstance(said, dict) else "; ".join(said)
