"""What happened to an update, in the words of the person it happened to."""

from dataclasses import dataclass

from api.updates import HappenedOut
from api.web.tongue import N_
from cardflow.model import EventKind

# The evidence has more than people need: what only proves something is not told here.
UNTOLD = frozenset({"start_verified", EventKind.INVENTORY_SEEN})
FORMS = {
    "request_form": N_("The certificate request form can be printed and signed"),
    "certificate_form": N_("The certificate form can be printed and signed"),
}
WORDS: dict[str, str] = {
    EventKind.OPENED: N_("The operation was started"),
    EventKind.VISIT_STARTED: N_("Work at the workstation began"),
    EventKind.VISIT_ENDED: N_("Work at the workstation ended"),
    EventKind.KEY_PREPARED: N_("A new key was made on the card"),
    EventKind.DOCUMENT_NEEDED: N_("A signed form is needed"),
    EventKind.DOCUMENT_RECEIVED: N_("A signed form came in"),
    EventKind.DOCUMENT_WITHDRAWN: N_("The form was taken back"),
    EventKind.DOCUMENT_APPROVED: N_("The form was approved"),
    EventKind.DOCUMENT_REJECTED: N_("The form was rejected"),
    EventKind.SUBMITTED_TO_CA: N_("The request went to the certificate authority"),
    EventKind.CERTIFICATE_ISSUED: N_("The certificate was issued"),
    EventKind.CA_REJECTED: N_("The certificate authority rejected the request"),
    EventKind.READY: N_("Everything is ready to be written to the card"),
    EventKind.WRITTEN: N_("The certificate was written to the card and checked there"),
    EventKind.RETIRED: N_("What was replaced was removed from the card"),
    EventKind.DEBTS_RECORDED: N_("What was left over will be removed at the next visit"),
    EventKind.DEBTS_PAID: N_("What an earlier operation had left was removed from the card"),
    EventKind.REMINDER: N_("A reminder was sent"),
    EventKind.ESCALATION: N_("The operators were told that this takes long"),
    EventKind.NEEDS_ATTENTION: N_("Something needs an operator's attention"),
    EventKind.RETRIED: N_("Another try was ordered"),
    EventKind.RESUMED: N_("The operation was taken up again from what was on record"),
    EventKind.MESSAGE_REFUSED: N_("A message without a valid signature was refused"),
    EventKind.CARD_CLEARED: N_("The card was cleared"),
    EventKind.REPORTED_LOST: N_("The card was reported lost and is blocked"),
    EventKind.COMPLETED: N_("The operation was completed"),
    EventKind.REJECTED: N_("The operation ended: everything was rejected"),
    EventKind.CANCELLED: N_("The operation was cancelled"),
    EventKind.LAPSED: N_("The operation ended: its deadline passed"),
    "certificate_revoked": N_("A certificate was revoked"),
}
SIGNS: dict[str, str] = {
    EventKind.DOCUMENT_REJECTED: "bad",
    EventKind.CA_REJECTED: "bad",
    EventKind.REJECTED: "bad",
    EventKind.NEEDS_ATTENTION: "bad",
    EventKind.LAPSED: "bad",
    EventKind.REPORTED_LOST: "bad",
    EventKind.WRITTEN: "good",
    EventKind.COMPLETED: "good",
    EventKind.DOCUMENT_APPROVED: "good",
    EventKind.CERTIFICATE_ISSUED: "good",
}


@dataclass(frozen=True)
class Told:
    """One line of a history; ``reason`` is somebody's own words or the core's."""

    happened: HappenedOut
    words: str
    reason: str
    sign: str


def told(entries: list[HappenedOut]) -> list[Told]:
    """Return the history, the newest first, without what only proves something."""
    return [_line(entry) for entry in reversed(entries) if entry.kind not in UNTOLD]


def _line(entry: HappenedOut) -> Told:
    words = FORMS.get(str(entry.facts.get("form")), "") if entry.kind == "document_needed" else ""
    words = words or WORDS.get(entry.kind, entry.kind.replace("_", " "))
    reason = str(entry.facts.get("reason") or "")
    if entry.kind == EventKind.DOCUMENT_APPROVED and entry.facts.get("complete") == "no":
        reason = N_("another person must approve it too")
    return Told(entry, words, reason, SIGNS.get(entry.kind, ""))
