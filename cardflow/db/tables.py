"""What people read and search: copies of what workflows did, and the register of people and cards.

Texts that are only ever read whole (views, findings, policy documents) are JSON text; what is
searched has a column and an index.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from cardflow.sql import Instant

LONGEST_NAME = 1024  # of an object on a card, hex; PostgreSQL's indexes take 2,700 bytes
UNTOLD = text("state = 'folded' AND digest_id = ''")  # literally, so that its index is taken


def instant(**options: Any) -> Any:
    """Return a field for an aware instant."""
    return Field(sa_type=Instant, **options)


class Person(SQLModel, table=True):
    """Somebody who holds a card, decides, administers or audits; or a service."""

    __tablename__ = "people"
    id: str = Field(primary_key=True, max_length=36)
    login: str = Field(unique=True, max_length=200)
    name: str = Field(max_length=200, index=True)
    given_name: str = Field(default="", max_length=100)
    surname: str = Field(default="", max_length=100)
    email: str = Field(default="", max_length=254, index=True)
    upn: str = Field(default="", max_length=254)
    sid: str = Field(default="", max_length=184)
    organization: str = Field(default="", max_length=200)
    language: str = Field(default="en", max_length=10)
    time_zone: str = Field(default="", max_length=64)  # IANA name; empty: the house's
    mail_digest: str = Field(default="off", max_length=10)  # off daily
    roles: list[str] = Field(default_factory=list, sa_type=JSON)
    password_hash: str = Field(default="", max_length=200)
    must_change_password: bool = False
    active: bool = True
    same_as: str | None = Field(default=None, max_length=36)  # whose second account this is
    created_at: datetime = instant()


class Session(SQLModel, table=True):
    """A signed-in person; only the token's SHA-256 is kept."""

    __tablename__ = "sessions"
    token_sha256: str = Field(primary_key=True, max_length=64)
    person_id: str = Field(foreign_key="people.id", index=True, max_length=36)
    created_at: datetime = instant()
    seen_at: datetime = instant()
    expires_at: datetime = instant()
    authenticated_at: datetime = instant()  # when somebody last proved that it is they
    user_agent: str = Field(default="", max_length=300)  # what the browser called itself
    way: str = Field(default="password", max_length=10)  # password provider card
    provider_session: str = Field(default="", index=True, max_length=255)  # the provider's sid
    id_token: str = ""  # sealed; the provider is shown it when the person signs out
    certificate_sha256: str = Field(default="", max_length=64)  # the card's, that opened it


class Identity(SQLModel, table=True):
    """An account at an OpenID provider and the one person it is; the pair never changes hands."""

    __tablename__ = "identities"
    issuer: str = Field(primary_key=True, max_length=255)
    subject: str = Field(primary_key=True, max_length=255)  # OpenID Connect Core 2: at most 255
    person_id: str = Field(foreign_key="people.id", max_length=36)
    bound_at: datetime = instant()
    __table_args__ = (UniqueConstraint("person_id", "issuer"),)


class SpentToken(SQLModel, table=True):
    """Something that counts once, kept for as long as it could be shown again."""

    __tablename__ = "spent_tokens"
    sha256: str = Field(primary_key=True, max_length=64)
    until: datetime = instant(index=True)


class SecondFactor(SQLModel, table=True):
    """What makes somebody's one-time codes (RFC 6238); it counts once a code has confirmed it."""

    __tablename__ = "second_factors"
    person_id: str = Field(primary_key=True, foreign_key="people.id", max_length=36)
    secret: str  # sealed
    last_step: int = 0  # of the last code that counted: none before it counts again
    created_at: datetime = instant()
    confirmed_at: datetime | None = instant(default=None, nullable=True)


class RecoveryCode(SQLModel, table=True):
    """A code for whoever has lost the device that makes them; only its SHA-256 is kept."""

    __tablename__ = "recovery_codes"
    person_id: str = Field(primary_key=True, foreign_key="people.id", max_length=36)
    sha256: str = Field(primary_key=True, max_length=64)
    used_at: datetime | None = instant(default=None, nullable=True)


class ApiToken(SQLModel, table=True):
    """A token for a service or a script; only its SHA-256 is kept."""

    __tablename__ = "api_tokens"
    id: str = Field(primary_key=True, max_length=36)
    token_sha256: str = Field(unique=True, max_length=64)
    person_id: str = Field(foreign_key="people.id", index=True, max_length=36)
    name: str = Field(max_length=100)
    roles: list[str] = Field(default_factory=list, sa_type=JSON)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    used_at: datetime | None = instant(default=None, nullable=True)
    revoked_at: datetime | None = instant(default=None, nullable=True)


class PolicyVersion(SQLModel, table=True):
    """One immutable version of a policy, as TOML text."""

    __tablename__ = "policies"
    name: str = Field(primary_key=True, max_length=100)
    version: int = Field(primary_key=True)
    document: str
    created_by: str = Field(default="", max_length=36)
    created_at: datetime = instant()


class Draft(SQLModel, table=True):
    """A policy or a CSV file that an administrator looks at before it counts; kept for a day."""

    __tablename__ = "drafts"
    id: str = Field(primary_key=True, max_length=36)
    person_id: str = Field(foreign_key="people.id", index=True, max_length=36)
    kind: str = Field(max_length=20)  # policy people cards
    content: bytes = Field(sa_type=LargeBinary)  # emptied once it is done
    result: str = ""  # JSON: what it would do, or did
    created_at: datetime = instant(index=True)
    done_at: datetime | None = instant(default=None, nullable=True)


class Card(SQLModel, table=True):
    """The plastic a person holds."""

    __tablename__ = "cards"
    id: str = Field(primary_key=True, max_length=36)
    token_serial: str = Field(unique=True, max_length=64)
    token_label: str = Field(default="", max_length=64)
    manufacturer: str = Field(default="", max_length=64)
    model: str = Field(default="", max_length=64)
    holder_id: str | None = Field(default=None, foreign_key="people.id", index=True, max_length=36)
    policy_name: str = Field(default="", max_length=100, index=True)
    state: str = Field(max_length=20, index=True)
    update_due: str = Field(default="", max_length=200)  # why, after an update that left a gap
    inventory: str = ""  # JSON of cardflow.jobs.Inventory, as last seen
    seen_at: datetime | None = instant(default=None, nullable=True)
    created_at: datetime = instant()
    lost_at: datetime | None = instant(default=None, nullable=True)  # until it is enabled again
    lost_by: str = Field(default="", max_length=36)  # who reported it
    lost_because: str = ""


class Debt(SQLModel, table=True):
    """Something that must go from a card at the next visit of any kind."""

    __tablename__ = "debts"
    id: str = Field(primary_key=True, max_length=36)
    card_id: str = Field(foreign_key="cards.id", index=True, max_length=36)
    update_id: str = Field(max_length=36)
    cka_id: str = Field(max_length=LONGEST_NAME)
    certificate_sha256: str = Field(default="", max_length=64)
    spki_sha256: str = Field(default="", max_length=64)
    recorded_at: datetime = instant()
    paid_at: datetime | None = instant(default=None, nullable=True)
    __table_args__ = (UniqueConstraint("card_id", "update_id", "cka_id", "certificate_sha256"),)


class Certificate(SQLModel, table=True):
    """A certificate on a card, that we had issued (managed) or that we only watch (tracked)."""

    __tablename__ = "certificates"
    sha256: str = Field(primary_key=True, max_length=64)
    card_id: str = Field(primary_key=True, foreign_key="cards.id", index=True, max_length=36)
    kind: str = Field(max_length=20)
    state: str = Field(max_length=20, index=True)  # issued on_card retired revoked
    profile: str = Field(default="", max_length=100)
    key_type: str = Field(default="", max_length=20)
    update_id: str = Field(default="", index=True, max_length=36)
    lane: str = Field(default="", max_length=100)
    cka_id: str = Field(max_length=LONGEST_NAME)
    spki_sha256: str = Field(index=True, max_length=64)
    serial_number: str = Field(index=True, max_length=LONGEST_NAME)
    subject: str
    issuer: str
    not_before: datetime = instant()
    not_after: datetime = instant(index=True)
    pem: str
    created_at: datetime = instant()


class Update(SQLModel, table=True):
    """The projection of one update: what lists and searches read."""

    __tablename__ = "updates"
    id: str = Field(primary_key=True, max_length=36)
    kind: str = Field(max_length=10)
    card_id: str = Field(foreign_key="cards.id", index=True, max_length=36)
    holder_id: str = Field(max_length=36)
    started_by: str = Field(max_length=36)
    policy_name: str = Field(max_length=100)
    policy_version: int
    stage: str = Field(max_length=20)
    opened_at: datetime = instant()
    due_at: datetime = instant()
    ended_at: datetime | None = instant(default=None, nullable=True)
    ended_because: str = ""
    events: int = 0  # the number of the last event that was recorded
    input: str  # JSON of UpdateInput: enough to start the workflow anew
    view: str  # JSON of the slim UpdateView
    # One for each way in which lists are narrowed: the newest of them are found without a sort.
    __table_args__ = (
        Index("ix_updates_age", "opened_at", "id"),
        Index("ix_updates_stage_age", "stage", "opened_at", "id"),
        Index("ix_updates_holder_id_age", "holder_id", "opened_at", "id"),
        Index("ix_updates_policy_name_age", "policy_name", "opened_at", "id"),
        Index(
            "ix_updates_open",
            "opened_at",
            "id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )


class UpdateLane(SQLModel, table=True):
    """The projection of one lane, with the texts that the view leaves out."""

    __tablename__ = "lanes"
    update_id: str = Field(primary_key=True, foreign_key="updates.id", max_length=36)
    lane: str = Field(primary_key=True, max_length=100)
    mode: str = Field(max_length=4)
    stage: str = Field(max_length=30)
    csr_pem: str = ""
    certificate_pem: str = ""


class Memory(SQLModel, table=True):
    """An answer or a decision of an open update: what its view leaves out."""

    __tablename__ = "memories"
    update_id: str = Field(primary_key=True, foreign_key="updates.id", max_length=36)
    kind: str = Field(primary_key=True, max_length=10)  # answer decision
    name: str = Field(primary_key=True, max_length=64)
    words: str


class WaitingFor(SQLModel, table=True):
    """One entry of the work lists: who is waited for, for what, since when, until when."""

    __tablename__ = "waiting"
    update_id: str = Field(primary_key=True, foreign_key="updates.id", max_length=36)
    lane: str = Field(primary_key=True, max_length=100)
    party: str = Field(max_length=20)
    what: str = Field(max_length=100)
    holder_id: str = Field(max_length=36)
    since: datetime = instant()
    until: datetime = instant()
    __table_args__ = (
        Index("ix_waiting_party", "party", "since", "update_id"),
        Index("ix_waiting_party_until", "party", "until", "update_id"),
        Index("ix_waiting_holder", "holder_id"),
    )


class Claim(SQLModel, table=True):
    """Somebody's word that they take a piece of work: a hint for others, never a lock."""

    __tablename__ = "claims"
    update_id: str = Field(primary_key=True, foreign_key="updates.id", max_length=36)
    lane: str = Field(primary_key=True, max_length=100)
    party: str = Field(max_length=20)  # the lane may come to wait for another one
    person_id: str = Field(foreign_key="people.id", index=True, max_length=36)
    claimed_at: datetime = instant()
    until: datetime = instant(index=True)


class Document(SQLModel, table=True):
    """A form that we issued or a document that came in; the bytes are in the store."""

    __tablename__ = "documents"
    id: str = Field(primary_key=True, max_length=36)
    update_id: str = Field(index=True, max_length=36)
    lane: str = Field(max_length=100)
    revision: int = 1
    kind: str = Field(max_length=20)  # DocumentKind
    direction: str = Field(max_length=10)  # issued received
    state: str = Field(max_length=20)  # issued checking accepted rejected withdrawn replaced
    sha256: str = Field(max_length=64, index=True)
    size: int
    media_type: str = Field(max_length=100)
    file_name: str = Field(default="", max_length=255)
    means: str = Field(default="", max_length=20)
    note: str = ""
    findings: str = "{}"  # JSON: what the machine saw
    submitted_by: str = Field(default="", max_length=36)
    created_at: datetime = instant()


class Agent(SQLModel, table=True):
    """A card agent on a workstation."""

    __tablename__ = "agents"
    id: str = Field(primary_key=True, max_length=36)
    person_id: str = Field(foreign_key="people.id", index=True, max_length=36)
    public_key: str = Field(unique=True, max_length=64)  # raw Ed25519, hex
    words: str = Field(max_length=200)  # six fingerprint words
    host: str = Field(default="", max_length=200)
    system: str = Field(default="", max_length=200)
    version: str = Field(default="", max_length=50)
    state: str = Field(max_length=20)  # pending compared confirmed revoked
    enrolled_at: datetime = instant()
    confirmed_at: datetime | None = instant(default=None, nullable=True)
    revoked_at: datetime | None = instant(default=None, nullable=True)
    seen_at: datetime | None = instant(default=None, nullable=True)
    key_since: datetime | None = instant(default=None, nullable=True)


class EnrolmentCode(SQLModel, table=True):
    """A one-time code, as the key derived from it; 15 minutes, five tries."""

    __tablename__ = "enrolment_codes"
    id: str = Field(primary_key=True, max_length=36)
    person_id: str = Field(foreign_key="people.id", max_length=36)
    key_hex: str = Field(max_length=64)
    expires_at: datetime = instant()
    tries: int = 0
    used_at: datetime | None = instant(default=None, nullable=True)


class AgentNonce(SQLModel, table=True):
    """A nonce that an agent has used; its primary key is what refuses a replay."""

    __tablename__ = "agent_nonces"
    agent_id: str = Field(primary_key=True, max_length=36)
    nonce: str = Field(primary_key=True, max_length=64)
    seen_at: datetime = instant(index=True)


class Presence(SQLModel, table=True):
    """A token in a reader of an agent, as last reported."""

    __tablename__ = "presence"
    agent_id: str = Field(primary_key=True, foreign_key="agents.id", max_length=36)
    token_serial: str = Field(primary_key=True, max_length=64)
    report: str  # JSON of cardflow.jobs.TokenReport
    seen_at: datetime = instant()


class JournalEntry(SQLModel, table=True):
    """A signed action, written before it is sent to a workflow; append-only."""

    __tablename__ = "journal"
    number: int | None = Field(default=None, primary_key=True)
    action_id: str = Field(unique=True, max_length=36)
    update_id: str = Field(index=True, max_length=36)
    token: str
    recorded_at: datetime = instant()


class JournalAnswer(SQLModel, table=True):
    """What the workflow answered to a journalled action; append-only."""

    __tablename__ = "journal_answers"
    action_id: str = Field(primary_key=True, max_length=36)
    accepted: bool
    answer: str  # JSON of Reply, or the objections
    recorded_at: datetime = instant()


class AuditEntry(SQLModel, table=True):
    """One link of the audit chain: ``hash = sha256(domain, previous, number, text)``."""

    __tablename__ = "audit"
    number: int = Field(primary_key=True)
    at: datetime = instant(index=True)
    kind: str = Field(max_length=40, index=True)
    update_id: str = Field(default="", max_length=36)
    event: int | None = Field(default=None, nullable=True)
    actor: str = Field(default="", max_length=36, index=True)
    text: str  # the canonical JSON that was hashed, as it was hashed
    previous: str = Field(max_length=64)
    hash: str = Field(max_length=64)
    __table_args__ = (UniqueConstraint("update_id", "event"),)


class AuditCheckpoint(SQLModel, table=True):
    """How far the audit chain reached at an instant, signed; append-only, each after the last."""

    __tablename__ = "audit_checkpoints"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    since: int = Field(unique=True)  # the number of the one before: there is one way on from each
    at: datetime = instant()
    token: str


class AuditCheck(SQLModel, table=True):
    """A check of the whole audit chain: who ordered it, how far it came, what it found."""

    __tablename__ = "audit_checks"
    id: str = Field(primary_key=True, max_length=36)
    started_by: str = Field(max_length=36)
    started_at: datetime = instant()
    seen_at: datetime = instant()  # when it last reported; silence means that its process ended
    finished_at: datetime | None = instant(default=None, nullable=True)
    total: int  # the number of the last entry when it began
    checked: int = 0
    covered_to: int = 0  # the last entry that a checkpoint has signed
    broken_at: int | None = Field(default=None, nullable=True)
    reason: str = ""


class Mail(SQLModel, table=True):
    """One mail to one person about one event; its Message-ID is the same at each try.

    A digest and a warning about a certificate belong to no update: ``update_id`` is empty.
    """

    __tablename__ = "mails"
    id: str = Field(primary_key=True, max_length=36)
    update_id: str = Field(index=True, max_length=36)
    event: int
    kind: str = Field(max_length=30)
    person_id: str = Field(max_length=36)
    address: str = Field(max_length=254)
    subject: str = Field(default="", max_length=300)
    message_id: str = Field(unique=True, max_length=200)
    state: str = Field(max_length=10)  # queued sent failed folded
    error: str = ""
    certificate_sha256: str = Field(default="", index=True, max_length=64)  # that expires
    digest_id: str = Field(default="", max_length=36)  # which mail tells what was folded
    document_id: str = Field(default="", max_length=36)  # of the form that goes with it
    agent_id: str = Field(default="", max_length=36)  # that was enrolled
    card_id: str = Field(default="", max_length=36)  # that was reported lost, or claimed
    created_at: datetime = instant()
    sent_at: datetime | None = instant(default=None, nullable=True)
    __table_args__ = (
        Index("ix_mails_person", "person_id", "created_at", "id"),
        Index("ix_mails_age", "created_at", "id"),
        Index("ix_mails_state_age", "state", "created_at", "id"),
        Index(
            "ix_mails_untold",
            "state",  # and what else is the same in all its rows: else SQLite takes the one above
            "digest_id",
            "person_id",
            "created_at",
            sqlite_where=UNTOLD,
            postgresql_where=UNTOLD,
        ),
    )


class MailText(SQLModel, table=True):
    """What mails of one kind say under a policy in one language, instead of our own words."""

    __tablename__ = "mail_texts"
    policy_name: str = Field(primary_key=True, max_length=100)
    kind: str = Field(primary_key=True, max_length=30)
    language: str = Field(primary_key=True, max_length=10)
    subject: str = Field(max_length=300)
    body: str
    version: int = 1
    updated_by: str = Field(max_length=36)
    updated_at: datetime = instant()


class IdempotentAnswer(SQLModel, table=True):
    """What a POST with an Idempotency-Key was answered, so that a repeat gets the same."""

    __tablename__ = "idempotent_answers"
    person_id: str = Field(primary_key=True, max_length=36)
    key: str = Field(primary_key=True, max_length=100)
    request_sha256: str = Field(max_length=64)
    status: int
    body: str
    recorded_at: datetime = instant()
