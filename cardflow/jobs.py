"""What the server may ask of an agent and what the agent answers: closed sets, plain data.

A job never carries a path, a command or a module name; a result has no field that could hold a PIN.
"""

import base64
from dataclasses import dataclass, field
from enum import StrEnum

from cardflow.errors import Refused
from cardflow.model import KeyType, ObjectRef


class JobKind(StrEnum):
    """The kinds that are compiled into the agent; each is an activity type on ``agent-<id>``."""

    INSPECT = "inspect"
    PREPARE = "prepare"
    WRITE = "write"
    CLEAN_UP = "clean_up"
    CLEAR = "clear"
    SIGN_DOCUMENT = "sign_document"


class Outcome(StrEnum):
    """How a job ended, as a named state; anything but DONE left the old pair in place."""

    DONE = "done"
    PIN_INCORRECT = "pin_incorrect"
    PIN_LOCKED = "pin_locked"
    PIN_FINAL_TRY = "pin_final_try"  # the person did not say yes to the last try
    PIN_CANCELLED = "pin_cancelled"
    PIN_TIMED_OUT = "pin_timed_out"
    PIN_UNUSABLE = "pin_unusable"  # empty, or a length the card cannot take: never sent to the card
    CARD_ABSENT = "card_absent"  # not there when the job began
    CARD_REMOVED = "card_removed"  # gone while the job ran
    WRONG_CARD = "wrong_card"
    CARD_FULL = "card_full"
    CARD_READ_ONLY = "card_read_only"
    CARD_FAILED = "card_failed"  # the module or the card answered with an error
    KEY_MISSING = "key_missing"  # the lane's key is not on the card any more
    SIGNER_MISSING = "signer_missing"  # the certificate to sign with, or its key, is not there
    DOCUMENT_REFUSED = "document_refused"  # not the one named, or not taken in when signed
    CERTIFICATE_MISMATCH = "certificate_mismatch"  # the certificate is not for the lane's key
    VISIT_OVER = (
        "visit_over"  # the follow-up came after the helper had ended: a new click is needed
    )


OUTCOME_WORDS = {
    Outcome.DONE: "done",
    Outcome.PIN_INCORRECT: "the PIN was wrong; nothing was changed on the card",
    Outcome.PIN_LOCKED: "the PIN is locked; ask your operator to unlock the card",
    Outcome.PIN_FINAL_TRY: "only one PIN try is left and it was not used",
    Outcome.PIN_CANCELLED: "the PIN prompt was cancelled",
    Outcome.PIN_TIMED_OUT: "no PIN was entered in time",
    Outcome.PIN_UNUSABLE: "the PIN was empty or of a length that the card cannot take",
    Outcome.CARD_ABSENT: "the card is not connected",
    Outcome.CARD_REMOVED: "the card was removed; connect it and continue",
    Outcome.WRONG_CARD: "another card is connected",
    Outcome.CARD_FULL: "the card has no room left; the old certificates are untouched",
    Outcome.CARD_READ_ONLY: "the card cannot be written with the software on this workstation",
    Outcome.CARD_FAILED: "the card answered with an error",
    Outcome.SIGNER_MISSING: "the certificate to sign with is not on the card any more",
    Outcome.DOCUMENT_REFUSED: "the form could not be signed or was not taken",
    Outcome.KEY_MISSING: "the new key is not on the card any more; cancel and start again",
    Outcome.CERTIFICATE_MISMATCH: "the certificate does not belong to the key on the card",
    Outcome.VISIT_OVER: "the visit had ended; continue with a new one",
}


@dataclass(frozen=True)
class CardJob:
    """What every job says: which card, which visit, and what the PIN prompt shows.

    ``hold_seconds`` > 0 asks the agent to keep the login for one more job of the same visit.
    ``opens_visit`` is False for such a follow-up: it never prompts, and answers VISIT_OVER instead.
    """

    job_id: str
    kind: JobKind
    update_id: str
    card_id: str
    token_serial: str
    visit_id: str
    code: str
    holder_name: str = ""
    opens_visit: bool = True
    hold_seconds: int = 0


@dataclass(frozen=True)
class KeyOrder:
    """A key pair to have on the card under ``cka_id`` (hex, 20 bytes), and its CSR's subject."""

    lane: str
    cka_id: str
    key_type: KeyType
    subject: str  # RFC 4514; the CA takes names from the person's record, never from the CSR
    title: str  # the profile in words, for the prompt and the object's label


@dataclass(frozen=True)
class CertificateOrder:
    """A certificate to write under ``cka_id``."""

    lane: str
    cka_id: str
    certificate_pem: str
    title: str


@dataclass(frozen=True)
class InspectJob:
    """Look at the card's public contents; no PIN."""

    card: CardJob


@dataclass(frozen=True)
class PrepareJob:
    """Pay the debts, then have one key pair per order on the card."""

    card: CardJob
    debts: tuple[ObjectRef, ...]
    keys: tuple[KeyOrder, ...]


@dataclass(frozen=True)
class WriteJob:
    """Pay the debts, then have each certificate on the card beside its key, proven."""

    card: CardJob
    debts: tuple[ObjectRef, ...]
    certificates: tuple[CertificateOrder, ...]
    nonce: str  # hex, 32 bytes


@dataclass(frozen=True)
class CleanUpJob:
    """Remove exactly the objects named; gone already is success."""

    card: CardJob
    retire: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class ClearJob:
    """Remove every object named: all that is ours on the card. Third-party objects stay."""

    card: CardJob
    objects: tuple[ObjectRef, ...]


@dataclass(frozen=True)
class SignJob:
    """Sign the PDF with this digest, which the agent fetches by itself, and hand it in."""

    card: CardJob
    title: str
    sha256: str
    signer: ObjectRef  # exactly this certificate, with the key beside it


Job = InspectJob | PrepareJob | WriteJob | CleanUpJob | ClearJob | SignJob


def objects_to_remove(job: Job) -> tuple[ObjectRef, ...]:
    """Return what a job has removed."""
    match job:
        case PrepareJob() | WriteJob():
            return job.debts
        case CleanUpJob():
            return job.retire
        case ClearJob():
            return job.objects
    return ()


JOB_TYPES: dict[JobKind, type[Job]] = {
    JobKind.INSPECT: InspectJob,
    JobKind.PREPARE: PrepareJob,
    JobKind.WRITE: WriteJob,
    JobKind.CLEAN_UP: CleanUpJob,
    JobKind.CLEAR: ClearJob,
    JobKind.SIGN_DOCUMENT: SignJob,
}


@dataclass(frozen=True)
class SignatureBox:
    """Where a signature is shown: a rectangle in PDF points from the page's lower left corner."""

    page: int  # from 0
    left: int
    bottom: int
    right: int
    top: int


@dataclass(frozen=True)
class IssuedForm:
    """The form of a sign job, as the agent fetches it; base64, in pieces that a text may hold."""

    content: tuple[str, ...]
    certificates: tuple[str, ...] = ()  # the CA's, PEM: they travel along in the signature
    box: SignatureBox | None = None


@dataclass(frozen=True)
class SignedForm:
    """The form of a sign job as the card signed it."""

    task: str
    content: tuple[str, ...]


PIECE = 60_000  # characters; a multiple of 4, so that each is base64 by itself


def in_pieces(data: bytes) -> tuple[str, ...]:
    """Return bytes as texts that are short enough to be sent."""
    text = base64.b64encode(data).decode()
    return tuple(text[at : at + PIECE] for at in range(0, len(text), PIECE))


def whole(pieces: tuple[str, ...]) -> bytes:
    """Return the bytes that were sent in pieces, or refuse them."""
    try:
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        raise Refused("content: not base64") from None


@dataclass(frozen=True)
class FoundCertificate:
    """A certificate object on the card, as read."""

    cka_id: str  # hex; may be empty or shared: PKCS#11 does not keep it unique
    label: str
    certificate_pem: str
    has_key: bool | None  # None: cannot be told without login


@dataclass(frozen=True)
class FoundKey:
    """A public or private key object on the card."""

    cka_id: str
    spki_sha256: str  # empty when it cannot be computed
    private: bool


@dataclass(frozen=True)
class Inventory:
    """What is on the card; ``logged_in`` tells whether private objects could be seen."""

    logged_in: bool = False
    certificates: tuple[FoundCertificate, ...] = ()
    keys: tuple[FoundKey, ...] = ()
    damaged: int = 0  # objects that could not be read: reported, skipped, left alone


@dataclass(frozen=True)
class TokenReport:
    """One token in one reader, as an agent reports it in its presence message."""

    token_serial: str
    token_label: str
    manufacturer: str
    model: str
    reader: str
    module: str  # the driver's name, never a path
    flags: tuple[str, ...] = ()  # e.g. LOGIN_REQUIRED USER_PIN_LOCKED PROTECTED_AUTHENTICATION_PATH
    unsupported: str = ""  # why the card cannot be updated, when it cannot
    inventory: Inventory = field(default_factory=Inventory)


@dataclass(frozen=True)
class PreparedKey:
    """A lane's key is on the card and signed this CSR."""

    lane: str
    cka_id: str
    csr_pem: str
    reused: bool = False


@dataclass(frozen=True)
class WriteProof:
    """What the card now holds for a lane, and the new key's signature over it.

    The signature is by the on-card key (RSASSA-PKCS1-v1_5 or ECDSA with SHA-256, base64) over
    ``write_message(nonce, DER, token serial)``.
    """

    lane: str
    cka_id: str
    certificate_pem: str  # as read back
    signature: str


@dataclass(frozen=True)
class JobResult:
    """An agent's answer to any job."""

    outcome: Outcome
    message: str = ""
    token_serial: str = ""
    pin_flags: tuple[str, ...] = ()
    keys: tuple[PreparedKey, ...] = ()
    proofs: tuple[WriteProof, ...] = ()
    removed: tuple[ObjectRef, ...] = ()
    inventory: Inventory | None = None


def write_message(nonce_hex: str, certificate_sha256: bytes, token_serial: str) -> bytes:
    """Return the bytes that the new key signs to prove what was written where."""
    return (
        b"cardflow-write-v1\0"
        + bytes.fromhex(nonce_hex)
        + certificate_sha256
        + token_serial.encode()
    )
