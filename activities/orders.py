"""What workflows ask of activities and what they get back; frozen, standard library only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cardflow.model import Event, UpdateInput, UpdateView


@dataclass(frozen=True)
class OpenOrder:
    """Create the projection of a new update, if its OPEN token is ours and covers this input."""

    update: UpdateInput


@dataclass(frozen=True)
class Opened:
    """The update is on record; or the reasons why it must not go on."""

    objections: tuple[str, ...] = ()


@dataclass(frozen=True)
class Publication:
    """Events in order, with the (slim) view after the last of them."""

    view: UpdateView
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Published:
    """Everything is on record; ``unsent`` are ids of mails that a later delivery must try again."""

    unsent: tuple[str, ...] = ()


@dataclass(frozen=True)
class MailOrder:
    """Deliver these queued mails."""

    mails: tuple[str, ...]


@dataclass(frozen=True)
class RoundOrder:
    """Do what is due at this instant."""

    at: datetime


@dataclass(frozen=True)
class SubmitOrder:
    """Ask the CA for the lane's certificate; ``request_id`` is ``<update>:<revision>:<lane>``."""

    request_id: str
    csr_pem: str
    profile: str
    subject: str  # as the forms showed it: a person's record that changed since then is refused
    holder_id: str
    requested_by: str


@dataclass(frozen=True)
class PollOrder:
    """Ask the CA what became of a request."""

    handle: str
    request: SubmitOrder


class AnswerKind(StrEnum):
    """What a CA can answer."""

    ISSUED = "issued"
    PENDING = "pending"
    REJECTED = "rejected"


@dataclass(frozen=True)
class CAAnswer:
    """The CA's answer, with the certificate already checked against what was asked."""

    kind: AnswerKind
    handle: str = ""
    poll_at: datetime | None = None
    certificate_pem: str = ""
    certificate_sha256: str = ""
    serial_number: str = ""
    not_after: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class RevokeOrder:
    """Have the certificates revoked; already revoked is success."""

    update_id: str
    reason: str  # a value of cardflow.ca.RevocationReason
    serial_numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class WithdrawOrder:
    """See to it that nothing comes of these requests: cancelled at the CA, or revoked if issued."""

    requests: tuple[SubmitOrder, ...]
    reason: str = "cessationOfOperation"  # a value of cardflow.ca.RevocationReason


@dataclass(frozen=True)
class AfterworkOrder:
    """What must happen at the CA after an update, however long the CA is away."""

    revoke: tuple[RevokeOrder, ...] = ()
    withdraw: tuple[SubmitOrder, ...] = ()
    reason: str = "cessationOfOperation"  # for what came of withdrawn requests after all
