"""The words of the product: frozen dataclasses and enums, standard library only.

What travels through workflow history is made of these: ``str int bool StrEnum datetime``, and
tuples, lists, dicts and dataclasses of those. Instants are aware UTC; bytes are hex or PEM.
"""

import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562 5.7): random enough not to be guessed, sorted by time of making."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))


# People, cards, profiles


class Role(StrEnum):
    """What a person, or a service, may be allowed to do."""

    HOLDER = "holder"
    OPERATOR = "operator"
    OFFICER = "officer"
    ADMIN = "admin"
    AUDITOR = "auditor"
    SERVICE = "service"


class CardState(StrEnum):
    """Where a card stands in its life."""

    CLEAN = "Clean"
    ASSIGNED = "Assigned"
    ISSUED = "Issued"
    PENDING = "Pending"
    DISABLED = "Disabled"
    REVOKED = "Revoked"


class Purpose(StrEnum):
    """What a certificate is for; keys for encryption outlive their certificates."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"
    ENCRYPTION = "encryption"


class KeyType(StrEnum):
    """The key types that a policy may ask for."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    P_256 = "P-256"
    P_384 = "P-384"


class Approval(StrEnum):
    """Who says yes at the CA."""

    AUTOMATIC = "automatic"
    OFFICER = "officer"


@dataclass(frozen=True)
class Profile:
    """A kind of certificate: everything in it but the public key and the person's names."""

    name: str
    title: str
    purpose: Purpose
    key_usage: tuple[str, ...]  # RFC 5280 4.2.1.3, e.g. digitalSignature
    extended_key_usage: tuple[str, ...]  # dotted OIDs
    subject_alt_names: tuple[str, ...]  # "upn", "email"
    sid_extension: bool  # 1.3.6.1.4.1.311.25.2
    validity_days: int
    approval: Approval
    officers_needed: int = 1


@dataclass(frozen=True)
class Subject:
    """A person's names as they stood when a certificate was asked for."""

    person_id: str
    common_name: str
    email: str
    given_name: str = ""
    surname: str = ""
    upn: str = ""
    sid: str = ""
    organization: str = ""


# Policies


class Mode(StrEnum):
    """Which signed forms a lane needs."""

    NONE = "none"
    REQUEST_FORM = "R"
    CERTIFICATE_FORM = "F"
    BOTH = "RF"


class DocumentExchange(StrEnum):
    """How signed forms come back."""

    PORTAL = "portal"
    OUTSIDE = "outside"


class FormSignature(StrEnum):
    """Which ways of signing a form a policy takes."""

    PAPER = "paper"  # by hand; a scan comes back
    ELECTRONIC = "electronic"  # with the card's key; the same PDF comes back (PAdES)
    EITHER = "either"


class SigningWay(StrEnum):
    """How a form is signed."""

    PAPER = "paper"
    ELECTRONIC = "electronic"


class OnRejection(StrEnum):
    """What one CA rejection does to the other lanes."""

    CONTINUE = "continue"
    ALL_OR_NOTHING = "all_or_nothing"


class MailKind(StrEnum):
    """The events that send mail."""

    OPERATION_STARTED = "operation_started"
    DOCUMENT_NEEDED = "document_needed"
    DOCUMENT_RECEIVED = "document_received"
    DOCUMENT_APPROVED = "document_approved"
    DOCUMENT_REJECTED = "document_rejected"
    UPDATE_APPROVED = "update_approved"
    UPDATE_REJECTED = "update_rejected"
    READY_TO_CONTINUE = "ready_to_continue"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRY_WARNING = "expiry_warning"


@dataclass(frozen=True)
class PolicyProfile:
    """One profile within a policy."""

    profile: str
    mode: Mode
    key_type: KeyType
    mandatory: bool = True
    precheck: bool = False
    approvals_needed: int = 1
    request_form_signature: FormSignature = FormSignature.PAPER
    certificate_form_signature: FormSignature = FormSignature.PAPER
    approve_signed: bool = False  # the machine approves what is signed electronically and well


@dataclass(frozen=True)
class Permissions:
    """What the holder may do alone."""

    update: bool = True
    select_optional: bool = True
    cancel: bool = True
    view_contents: bool = True
    delete_documents: bool = True


@dataclass(frozen=True)
class Policy:
    """One immutable version of what a group of cards must carry and which checks apply."""

    name: str
    version: int
    title: str
    profiles: tuple[PolicyProfile, ...]
    contact: str
    permissions: Permissions = field(default_factory=Permissions)
    document_exchange: DocumentExchange = DocumentExchange.PORTAL
    search_third_party: bool = True
    select_third_party: bool = True
    on_rejection: OnRejection = OnRejection.CONTINUE
    keep_old_encryption: bool = True
    revoke_replaced: bool = True
    notifications: tuple[MailKind, ...] = tuple(MailKind)
    attach_documents: bool = False  # operators get the uploaded document with their mail
    rejection_reasons: tuple[str, ...] = ()  # what operators can pick instead of typing it
    renew_before_days: int = 30
    reminder_hours: int = 48
    escalation_hours: int = 240
    deadline_hours: int = 720


# What is on a card


@dataclass(frozen=True)
class ObjectRef:
    """Something on a card, named exactly: CKA_ID (hex) and SHA-256 of what must be there."""

    cka_id: str
    certificate_sha256: str = ""  # of the DER; empty: no certificate is meant
    spki_sha256: str = ""  # of the public key; empty: no key is meant


class CertificateKind(StrEnum):
    """Whose a certificate on a card is."""

    MANAGED = "managed"
    TRACKED = "tracked"
    THIRD_PARTY = "third_party"


@dataclass(frozen=True)
class CertificateOnCard:
    """A certificate as the last inventory showed it, and what the register knows of it."""

    ref: ObjectRef
    kind: CertificateKind
    subject: str
    issuer: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    has_key: bool
    profile: str = ""
    key_type: str = ""
    revoked: bool = False


# One update


class Kind(StrEnum):
    """What the open operation on a card is; both take the card's one workflow id."""

    UPDATE = "update"
    CLEAR = "clear"  # revoke and clear the card


class LaneStage(StrEnum):
    """Where one certificate within an update stands."""

    PREPARING = "preparing"
    AWAITING_REQUEST_FORM = "awaiting_request_form"
    CHECKING_REQUEST_FORM = "checking_request_form"
    AT_CA = "at_ca"
    CA_REJECTED = "ca_rejected"
    AWAITING_CERTIFICATE_FORM = "awaiting_certificate_form"
    CHECKING_CERTIFICATE_FORM = "checking_certificate_form"
    READY = "ready"
    WRITTEN = "written"
    REVOKED = "revoked"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"


class Stage(StrEnum):
    """Where an update stands."""

    PREPARING = "preparing"
    PENDING = "pending"
    READY = "ready"
    WRITING = "writing"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"
    NEEDS_ATTENTION = "needs_attention"


class DocumentKind(StrEnum):
    """The two forms."""

    REQUEST_FORM = "request_form"
    CERTIFICATE_FORM = "certificate_form"


class Means(StrEnum):
    """How a document reached us."""

    PORTAL = "portal"
    POST = "post"
    MAIL = "mail"
    IN_PERSON = "in_person"
    ELECTRONIC = "electronic"  # from the agent that had the card sign it


class SignatureFound(StrEnum):
    """What the machine found of an electronic signature in a document that came in."""

    NONE = "none"  # a scan: whoever checks it looks for ink
    GOOD = "good"  # the holder's, valid, over exactly the form that was issued
    DOUBTFUL = "doubtful"  # signed, and something speaks against it: a person decides


class Verdict(StrEnum):
    """One person's word on a document or a request."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True)
class DocumentRef:
    """A document that came in: where it is in the store, and how it came."""

    id: str
    kind: DocumentKind
    sha256: str
    means: Means = Means.PORTAL
    submitted_by: str = ""
    submitted_at: datetime | None = None
    signature: SignatureFound = SignatureFound.NONE


@dataclass(frozen=True)
class FormToSign:
    """An issued form, by the digest of its bytes, and the certificate on the card to sign with."""

    lane: str
    revision: int
    kind: DocumentKind
    title: str  # in words, for the PIN prompt
    sha256: str
    signer: ObjectRef


@dataclass(frozen=True)
class LanePlan:
    """What one lane is to do, frozen when the update is opened."""

    lane: str  # the profile's name: unique within an update
    mode: Mode
    key_type: KeyType
    mandatory: bool
    precheck: bool
    approvals_needed: int
    needs_officer: bool
    subject: str  # RFC 4514, from the person's record
    cka_id: str  # sha256(update, lane)[:20], hex: chosen before the card is touched
    why: str = ""
    replaces: tuple[ObjectRef, ...] = ()
    retires: tuple[ObjectRef, ...] = ()  # the part of ``replaces`` that is removed from the card
    replaced_serial_numbers: tuple[str, ...] = ()
    request_form_signature: FormSignature = FormSignature.PAPER
    certificate_form_signature: FormSignature = FormSignature.PAPER
    approve_signed: bool = False


@dataclass(frozen=True)
class Plan:
    """What an update would add, replace, keep and remove; its digest is what a person confirms."""

    lanes: tuple[LanePlan, ...]
    keeps: tuple[CertificateOnCard, ...] = ()
    removes: tuple[ObjectRef, ...] = ()  # managed certificates that the policy no longer has
    removed_serial_numbers: tuple[str, ...] = ()
    registers: tuple[ObjectRef, ...] = ()  # third-party certificates to track
    objections: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lane:
    """One certificate's way through an update."""

    plan: LanePlan
    stage: LaneStage = LaneStage.PREPARING
    since: datetime | None = None
    revision: int = 1
    csr_pem: str = ""
    spki_sha256: str = ""
    document: DocumentRef | None = None  # the one under check, or the last one accepted
    approvals: tuple[str, ...] = ()  # person ids, for the document under check
    ca_handle: str = ""
    ca_poll_at: datetime | None = None
    certificate_pem: str = ""
    certificate_sha256: str = ""
    serial_number: str = ""
    not_after: datetime | None = None
    reason: str = ""  # why a document was sent back, or why the lane ended
    attention: str = ""  # what failed for good, and what an operator can do


@dataclass(frozen=True)
class Visit:
    """One sitting at the workstation, from the click to the last read-back."""

    id: str
    agent_id: str
    code: str  # shown in the PIN prompt and in the portal
    started_at: datetime
    started_by: str
    seconds: int = 300  # without a PIN the visit ends after this time
    hold_seconds: int = 30  # how long the card's login waits for the next job of the same visit
    signs: FormToSign | None = None  # a visit that signs this form and does nothing else


@dataclass(frozen=True)
class UpdateInput:
    """Everything an update is allowed to know when it starts; the policy version is a copy."""

    update_id: str
    kind: Kind
    card_id: str
    token_serial: str
    token_label: str
    holder_id: str
    started_by: str
    opened_at: datetime
    policy: Policy
    plan: Plan
    decision_root: str  # raw Ed25519 public key, hex: who may sign actions
    debts: tuple[ObjectRef, ...] = ()
    ca: str = "embedded"
    token: str = ""  # the signed OPEN action; its digest covers the rest of this input
    resumed: "UpdateState | None" = None  # set by continue-as-new, and by `cardflow reconcile`


@dataclass(frozen=True)
class UpdateState:
    """What an open update is; changed only by the functions of ``cardflow.lifecycle``."""

    lanes: tuple[Lane, ...] = ()
    visit: Visit | None = None
    last_visit: str = ""  # how the last visit ended, in words, when it did not do its work
    visited: bool = False  # the card was, or may have been, touched by this update
    writing: bool = False
    ended: Stage | None = None
    ended_because: str = ""
    ready_since: datetime | None = None
    debts: tuple[ObjectRef, ...] = ()  # what the next visit must remove from the card
    removed: tuple[ObjectRef, ...] = ()  # what visits of this update did remove
    answered: dict[str, str] = field(default_factory=dict)  # action id -> the answer it got
    decisions: dict[str, str] = field(default_factory=dict)  # digest -> who decided it, in words
    events: int = 0  # how many events were published
    reminded: int = 0
    escalated: bool = False
    lost: bool = False  # the card was reported lost: nothing on it is to be trusted any more
    resumption: str = ""  # the signed RESUME action that vouches for a state brought back


class Party(StrEnum):
    """Who an update can wait for."""

    HOLDER = "holder"
    OPERATOR = "operator"
    OFFICER = "officer"
    AGENT = "agent"
    CA = "ca"


@dataclass(frozen=True)
class Waiting:
    """Who is waited for, for what, since when and until when."""

    party: Party
    what: str
    lane: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class UpdateView:
    """The whole state of an update, as the query answers it and the projection stores it."""

    update_id: str
    kind: Kind
    card_id: str
    holder_id: str
    started_by: str
    policy_name: str
    policy_version: int
    stage: Stage
    opened_at: datetime
    due_at: datetime
    state: UpdateState
    waiting: tuple[Waiting, ...] = ()


# Actions: what people do to an update; each travels as a token signed by the API


class Act(StrEnum):
    """What a person can do."""

    OPEN = "open"
    RESUME = "resume"  # start an open update anew, from what is on record of it
    CONTINUE = "continue"  # start a visit
    SIGN_DOCUMENT = "sign_document"  # start a visit that signs a form with the card
    SUBMIT_DOCUMENT = "submit_document"
    WITHDRAW_DOCUMENT = "withdraw_document"
    DECIDE_DOCUMENT = "decide_document"
    DECIDE_REQUEST = "decide_request"  # the CA officer's word; the embedded CA takes it
    CANCEL = "cancel"
    RETRY = "retry"  # an operator's answer to needs_attention
    REPORT_LOST = "report_lost"  # the card is out of its holder's hands


@dataclass(frozen=True)
class Action:
    """What somebody did, when, in which role, and the digest of what they were shown."""

    id: str
    act: Act
    update_id: str
    actor: str  # person id
    role: Role
    at: datetime
    lane: str = ""
    revision: int = 1
    digest: str = ""
    verdict: Verdict | None = None
    reason: str = ""
    document: DocumentRef | None = None
    visit: Visit | None = None


@dataclass(frozen=True)
class Reply:
    """What an accepted action led to."""

    stage: Stage
    message: str
    action_id: str = ""


# Events: what happened, in the order it happened


class EventKind(StrEnum):
    """What the audit trail and the timeline say."""

    OPENED = "opened"
    VISIT_STARTED = "visit_started"
    VISIT_ENDED = "visit_ended"
    KEY_PREPARED = "key_prepared"
    DOCUMENT_NEEDED = "document_needed"
    DOCUMENT_RECEIVED = "document_received"
    DOCUMENT_WITHDRAWN = "document_withdrawn"
    DOCUMENT_APPROVED = "document_approved"
    DOCUMENT_REJECTED = "document_rejected"
    SUBMITTED_TO_CA = "submitted_to_ca"
    CERTIFICATE_ISSUED = "certificate_issued"
    CA_REJECTED = "ca_rejected"
    READY = "ready"
    WRITTEN = "written"
    RETIRED = "retired"
    DEBTS_RECORDED = "debts_recorded"
    DEBTS_PAID = "debts_paid"
    INVENTORY_SEEN = "inventory_seen"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    NEEDS_ATTENTION = "needs_attention"
    RETRIED = "retried"
    RESUMED = "resumed"  # after its workflow was lost: from what was on record
    MESSAGE_REFUSED = "message_refused"
    CARD_CLEARED = "card_cleared"
    REPORTED_LOST = "reported_lost"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"


@dataclass(frozen=True)
class Event:
    """One thing that happened to an update; (update id, number) names it for ever."""

    number: int
    kind: EventKind
    at: datetime
    lane: str = ""
    actor: str = ""  # person id; empty: the machine
    facts: dict[str, str] = field(default_factory=dict)
    refs: tuple[ObjectRef, ...] = ()
    token: str = ""  # the signed action behind it
    mail: MailKind | None = None
    ready: bool = False  # this event made the whole update ready: its mail says so too
