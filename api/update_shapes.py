"""The shapes in which people see updates."""

from datetime import datetime, timedelta
from typing import Self

from api.shapes import Out
from cardflow.model import (
    Act,
    DocumentKind,
    Kind,
    LaneStage,
    Means,
    ObjectRef,
    Party,
    SignatureFound,
    SigningWay,
    Stage,
    Visit,
)


class PersonRef(Out):
    """A person by id and name."""

    id: str
    name: str


class FormToSignOut(Out):
    """What a card signs; the PIN prompt shows the title and the digest's first 16 digits."""

    lane: str
    kind: DocumentKind
    title: str
    sha256: str


class VisitOut(Out):
    """A sitting at the workstation; the PIN prompt there shows the same code."""

    id: str
    code: str
    agent_id: str
    host: str
    started_at: datetime
    ends_at: datetime
    signs: FormToSignOut | None = None  # the form that this visit signs; None: it updates the card

    @classmethod
    def of(cls, visit: Visit, host: str) -> Self:
        """Return the visit at the workstation ``host``."""
        return cls(
            id=visit.id,
            code=visit.code,
            agent_id=visit.agent_id,
            host=host,
            started_at=visit.started_at,
            ends_at=visit.started_at + timedelta(seconds=visit.seconds),
            signs=FormToSignOut.model_validate(visit.signs) if visit.signs else None,
        )


class WaitingOut(Out):
    """Who is waited for, for what, since when and until when."""

    party: Party
    what: str
    lane: str
    since: datetime
    until: datetime


class DocumentRefOut(Out):
    """The document under check, or the last one accepted."""

    id: str
    kind: DocumentKind
    sha256: str
    means: Means
    submitted_by: PersonRef
    submitted_at: datetime | None
    signature: SignatureFound


class LaneOut(Out):
    """One certificate's way through the update; ``label`` is what the Contents tab shows."""

    lane: str
    title: str
    label: str
    stage: LaneStage
    since: datetime | None
    mode: str
    key_type: str
    mandatory: bool
    precheck: bool
    needs_officer: bool
    why: str
    subject: str
    revision: int
    replaces: list[ObjectRef]
    retires: list[ObjectRef]
    spki_sha256: str
    certificate_sha256: str
    serial_number: str
    not_after: datetime | None
    form: DocumentKind | None  # the form that can be printed now
    signing: list[SigningWay]  # the ways in which it may be signed
    document: DocumentRefOut | None
    approvals: list[PersonRef]
    approvals_needed: int
    reason: str
    attention: str
    decision_digest: str
    may: list[Act]


class UpdateLine(Out):
    """An update in a list."""

    id: str
    kind: Kind
    card_id: str
    holder: PersonRef
    policy_name: str
    policy_version: int
    stage: Stage
    opened_at: datetime
    due_at: datetime
    ended_at: datetime | None
    ended_because: str
    waiting: list[WaitingOut]


class UpdateOut(UpdateLine):
    """An update with everything about it; ``live`` tells that its workflow itself answered."""

    live: bool
    token_serial: str
    token_label: str
    started_by: PersonRef
    contact: str
    document_exchange: str
    rejection_reasons: list[str]
    last_visit: str
    visit: VisitOut | None
    lanes: list[LaneOut]
    removes: list[ObjectRef]
    registers: list[ObjectRef]
    debts: list[ObjectRef]
    may: list[Act]


class OpenedOut(Out):
    """An update that was just opened, and its first visit if it has one."""

    id: str
    message: str
    update: UpdateOut
    visit: VisitOut | None


class MailOut(Out):
    """A mail to a person; ``update_id`` is empty when it is about none."""

    id: str
    update_id: str
    kind: str
    person_id: str
    address: str
    subject: str
    message_id: str
    state: str  # queued sent failed folded
    error: str
    digest_id: str  # the digest that told of it, when it was folded
    created_at: datetime
    sent_at: datetime | None
