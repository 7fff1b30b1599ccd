"""Made-up letters, so that a text can be looked at before anybody gets it."""

from datetime import datetime, timedelta

from cardflow.mail.letters import Letter, Text
from cardflow.model import DocumentExchange, DocumentKind, MailKind, Mode, Policy

PERSON = "sample"
TO_OPERATORS = (MailKind.DOCUMENT_RECEIVED, MailKind.ESCALATION)
WHOLE_UPDATE = (
    MailKind.OPERATION_STARTED,
    MailKind.READY_TO_CONTINUE,
    MailKind.REMINDER,
    MailKind.ESCALATION,
    MailKind.COMPLETED,
    MailKind.CANCELLED,
)
FACTS: dict[MailKind, dict[str, str]] = {
    MailKind.DOCUMENT_NEEDED: {"form": DocumentKind.REQUEST_FORM},
    MailKind.DOCUMENT_RECEIVED: {"kind": DocumentKind.REQUEST_FORM},
    MailKind.DOCUMENT_REJECTED: {"reason": "the signature is missing"},
    MailKind.UPDATE_REJECTED: {"reason": "not entitled"},
    MailKind.REMINDER: {"party": "holder", "what": "the signed request form"},
}


def sample_letter(
    kind: MailKind, language: str, policy: Policy, text: Text | None, now: datetime
) -> Letter:
    """Return a letter of the kind under the policy, about an update that does not exist."""
    entry = policy.profiles[0]
    facts = FACTS.get(kind, {})
    if kind is MailKind.EXPIRY_WARNING:
        days = policy.renew_before_days
        facts = {"expires": (now + timedelta(days=days)).isoformat(), "days": str(days)}
    to_operator = kind in TO_OPERATORS
    return Letter(
        id=PERSON,
        kind=kind,
        message_id="",
        address="ada@example.org",
        person_id="operator" if to_operator else PERSON,
        name="Ben Example" if to_operator else "Ada Example",
        language=language,
        created_at=now,
        path="/cards/sample" if kind is MailKind.EXPIRY_WARNING else "/updates/sample",
        holder_id=PERSON,
        holder_name="Ada Example",
        card="Ada's card",
        contact=policy.contact,
        lane="" if kind in WHOLE_UPDATE else entry.profile,
        facts=facts,
        form_follows=entry.mode in (Mode.CERTIFICATE_FORM, Mode.BOTH),
        outside=policy.document_exchange is DocumentExchange.OUTSIDE,
        texts={language: text} if text else {},
    )
