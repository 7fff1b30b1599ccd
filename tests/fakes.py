"""Small honest stand-ins for what is outside a workflow: a CA, an agent, the records."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.orders import AnswerKind, CAAnswer, Opened, OpenOrder, PollOrder, Published
from cardflow.jobs import (
    CardJob,
    CleanUpJob,
    ClearJob,
    JobResult,
    Outcome,
    PreparedKey,
    PrepareJob,
    SignJob,
    WriteJob,
    WriteProof,
    write_message,
)
from cardflow.model import Event, EventKind, MailKind, UpdateView
from cardflow.orders import MailOrder, Publication, RevokeOrder, SubmitOrder, WithdrawOrder
from cardflow.x509 import load_certificate, load_csr, sha256_of


@dataclass
class FakeRecords:
    """Remembers what was published, in memory."""

    refuse: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    opened: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    known: dict[str, set[int]] = field(default_factory=dict)
    view: UpdateView | None = None  # the last one published
    views: dict[str, UpdateView] = field(default_factory=dict)  # the same for each update
    gate: asyncio.Event | None = None  # when set, publications wait for it

    @activity.defn
    async def open_update(self, order: OpenOrder) -> Opened:
        """Remember the update, or refuse it."""
        self.opened.append(order.update.update_id)
        return Opened(self.refuse)

    @activity.defn
    async def publish(self, publication: Publication) -> Published:
        """Remember events once each."""
        if self.gate:
            await self.gate.wait()
        known = self.known.setdefault(publication.view.update_id, set())
        self.events += [e for e in publication.events if e.number not in known]
        known |= {event.number for event in publication.events}
        self.view = publication.view
        self.views[publication.view.update_id] = publication.view
        return Published(self.unsent)

    @property
    def kinds(self) -> list[EventKind]:
        """The kinds of all events, in order."""
        return [event.kind for event in self.events]

    @property
    def mails(self) -> list[MailKind]:
        """The mails that events asked for, in order."""
        return [event.mail for event in self.events if event.mail]

    def of(self, kind: EventKind) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.events if event.kind is kind]


@dataclass
class FakeMail:
    """Remembers which mails were to be delivered again."""

    delivered: list[str] = field(default_factory=list)

    @activity.defn
    async def deliver(self, order: MailOrder) -> None:
        """Remember the mails."""
        self.delivered += order.mails


class FakeCA:
    """Signs what it is asked to, at once or when told, and remembers what it revoked."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake CA")])
        self.officer_profiles: set[str] = set()
        self.verdicts: dict[str, str] = {}  # request id -> "yes", or the reason of the no
        self.issued: dict[str, CAAnswer] = {}
        self.submissions: list[str] = []
        self.polls = 0
        self.days = 36_500  # how long what it signs is valid; clocks of tests leap
        self.poll_at: datetime | None = None  # when to ask again; by default soon
        self.revoked: dict[str, str] = {}
        self.withdrawn: list[str] = []
        self.withdrawn_because: dict[str, str] = {}
        self.down = 0  # how many times to be unavailable
        self.refuse = ""
        self.odd = False  # answer with certificates that have no dates
        self.gate: asyncio.Event | None = None  # when set, submissions wait for it

    @activity.defn
    async def submit(self, order: SubmitOrder) -> CAAnswer:
        """Take a request."""
        self.submissions.append(order.request_id)
        if self.gate:
            await self.gate.wait()
        if self.refuse:
            raise ApplicationError(self.refuse, type="Refused", non_retryable=True)
        if self.down:
            self.down -= 1
            raise ApplicationError("no answer", type="Unavailable")
        return self._answer(order)

    @activity.defn
    async def poll(self, order: PollOrder) -> CAAnswer:
        """Answer for a request that was pending."""
        self.polls += 1
        return self._answer(order.request)

    @activity.defn
    async def withdraw(self, order: WithdrawOrder) -> None:
        """Remember what was withdrawn."""
        if self.refuse:
            raise ApplicationError(self.refuse, type="Refused", non_retryable=True)
        self.withdrawn += [request.request_id for request in order.requests]
        self.withdrawn_because |= dict.fromkeys(self.withdrawn, order.reason)

    @activity.defn
    async def revoke(self, order: RevokeOrder) -> None:
        """Remember what was revoked and why."""
        self.revoked |= dict.fromkeys(order.serial_numbers, order.reason)

    def _answer(self, order: SubmitOrder) -> CAAnswer:
        verdict = self.verdicts.get(order.profile)
        if verdict is None and order.profile in self.officer_profiles:
            handle = order.request_id
            return CAAnswer(AnswerKind.PENDING, handle=handle, poll_at=self.poll_at)
        if verdict not in (None, "yes"):
            return CAAnswer(AnswerKind.REJECTED, reason=verdict or "")
        if order.request_id not in self.issued:
            answer = self._sign(order)
            self.issued[order.request_id] = replace(answer, not_after=None) if self.odd else answer
        return self.issued[order.request_id]

    def _sign(self, order: SubmitOrder) -> CAAnswer:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ada")]))
            .issuer_name(self.name)
            .public_key(load_csr(order.csr_pem).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=self.days))
            .sign(self.key, hashes.SHA256())
        )
        return CAAnswer(
            AnswerKind.ISSUED,
            certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
            certificate_sha256=sha256_of(certificate.public_bytes(Encoding.DER)),
            serial_number=f"{certificate.serial_number:x}",
            not_after=certificate.not_valid_after_utc,
        )


class FakeAgent:
    """An agent with software keys; it may be told to answer a job with a named outcome."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.certificates: dict[str, str] = {}
        self.jobs: list[CardJob] = []
        self.removed: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.deaf: set[str] = set()  # job kinds that are never answered
        self.lie = False  # sign proofs with another key
        self.signed: list[SignJob] = []
        self.hand_in: Callable[[], Awaitable[None]] | None = None  # what signed forms go through
        self.gates: dict[str, asyncio.Event] = {}  # job kind -> what such jobs wait for

    @activity.defn
    async def prepare(self, job: PrepareJob) -> JobResult:
        """Make keys and CSRs."""
        if early := await self._begin(job.card):
            return early
        prepared = []
        for order in job.keys:
            reused = order.cka_id in self.keys
            key = self.keys.setdefault(order.cka_id, ec.generate_private_key(ec.SECP256R1()))
            name = x509.Name.from_rfc4514_string(order.subject)
            builder = x509.CertificateSigningRequestBuilder().subject_name(name)
            csr = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
            prepared.append(PreparedKey(order.lane, order.cka_id, csr, reused))
        return self._done(keys=tuple(prepared), removed=self._remove(job.debts))

    @activity.defn
    async def write(self, job: WriteJob) -> JobResult:
        """Write certificates and prove them."""
        if early := await self._begin(job.card):
            return early
        proofs = []
        for order in job.certificates:
            self.certificates[order.cka_id] = order.certificate_pem
            key = ec.generate_private_key(ec.SECP256R1()) if self.lie else self.keys[order.cka_id]
            der = load_certificate(order.certificate_pem).public_bytes(Encoding.DER)
            digest = bytes.fromhex(sha256_of(der))
            message = write_message(job.nonce, digest, job.card.token_serial)
            signature = base64.b64encode(key.sign(message, ec.ECDSA(hashes.SHA256()))).decode()
            proofs.append(WriteProof(order.lane, order.cka_id, order.certificate_pem, signature))
        return self._done(proofs=tuple(proofs), removed=self._remove(job.debts))

    @activity.defn
    async def clean_up(self, job: CleanUpJob) -> JobResult:
        """Remove what is named."""
        return await self._begin(job.card) or self._done(removed=self._remove(job.retire))

    @activity.defn
    async def clear(self, job: ClearJob) -> JobResult:
        """Remove what is named."""
        return await self._begin(job.card) or self._done(removed=self._remove(job.objects))

    @activity.defn
    async def sign_document(self, job: SignJob) -> JobResult:
        """Sign what is named, and hand it in as the agent does before it answers."""
        if early := await self._begin(job.card):
            return early
        self.signed.append(job)
        if self.hand_in:
            await self.hand_in()
        return self._done()

    async def _begin(self, card: CardJob) -> JobResult | None:
        self.jobs.append(card)
        if gate := self.gates.get(card.kind):
            await gate.wait()
        if card.kind in self.deaf:
            raise ApplicationError("the agent went away", type="Unavailable")
        outcome = self.outcomes.pop(card.kind, None)
        return JobResult(outcome) if outcome else None

    def _remove(self, refs: tuple) -> tuple:  # type: ignore[type-arg]
        for ref in refs:
            self.keys.pop(ref.cka_id, None)
            self.certificates.pop(ref.cka_id, None)
            self.removed.append(ref.cka_id)
        return refs

    def _done(self, **parts: object) -> JobResult:
        return JobResult(Outcome.DONE, **parts)  # type: ignore[arg-type]
