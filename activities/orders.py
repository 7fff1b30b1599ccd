"""What workflows ask of activities and what they get back; frozen, standard library only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cardflow.model import UpdateInput
from cardflow.orders import SubmitOrder


@dataclass(frozen=True)
class OpenOrder:
    """Create the projection of a new update, if its OPEN token is ours and covers this input."""

    update: UpdateInput


@dataclass(frozen=True)
class Opened:
    """The update is on record; or the reasons why it must not go on."""

    objections: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """Everything is on record; ``unsent`` are ids of mails that a later delivery must try again."""

    unsent: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundOrder:
    """Do what is due at this instant."""

    at: datetime


@dataclass(frozen=True)
class Left:
    """Queued mails that nothing delivers, by update."""

    mails: dict[str, tuple[str, ...]]


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
