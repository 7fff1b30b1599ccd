"""One mail to one person, with everything that its text needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cardflow.model import FormSignature, MailKind

# Beside the kinds of ``MailKind``: they belong to no policy.
DIGEST = "digest"
NEW_AGENT = "new_agent"
CODES_RESET = "codes_reset"
CARD_LOST = "card_lost"


@dataclass(frozen=True)
class Text:
    """What an administrator has a mail say, with placeholders."""

    subject: str
    body: str


@dataclass(frozen=True)
class TextKey:
    """Which text: that of a policy, for one kind of mail, in one language."""

    policy_name: str
    kind: MailKind
    language: str


@dataclass(frozen=True)
class Enclosure:
    """A document that a mail is to carry, as the store has it."""

    sha256: str
    size: int
    media_type: str
    kind: str


@dataclass(frozen=True)
class Entry:
    """A line of a digest: a document that waits for its check."""

    update_id: str
    holder_name: str
    lane: str
    what: str
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Letter:
    """What one person is told, about what, and where the mail's link leads."""

    id: str
    kind: MailKind | str
    message_id: str
    address: str
    person_id: str
    name: str
    language: str
    created_at: datetime
    path: str
    time_zone: str = ""  # IANA name; empty: the house's
    holder_id: str = ""
    holder_name: str = ""
    card: str = ""
    contact: str = ""
    lane: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    ready: bool = False  # what happened made the whole update ready
    lapsed: bool = False
    form_follows: bool = False
    signature: FormSignature = FormSignature.PAPER  # how the form that it is about may be signed
    outside: bool = False  # documents are not uploaded
    earlier: tuple[str, ...] = ()  # Message-IDs of what this person got about the same thing
    texts: Mapping[str, Text] = field(default_factory=dict)  # by language, instead of our own
    enclosure: Enclosure | None = None
    entries: tuple[Entry, ...] = ()
    waiting: int = 0  # how many documents wait, those that ``entries`` leaves out too
