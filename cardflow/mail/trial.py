"""What a trial of a mail text is asked with and answered by."""

from dataclasses import dataclass

from cardflow.model import MailKind


@dataclass(frozen=True)
class TrialOrder:
    """Send a mail with made-up contents to one person; an empty subject means the default text."""

    person_id: str
    policy_name: str
    kind: MailKind
    language: str
    subject: str = ""
    body: str = ""


@dataclass(frozen=True)
class TrialAnswer:
    """What became of it: sent, queued (not taken now) or failed, and what the relay said."""

    state: str
    said: str
    address: str
    subject: str
