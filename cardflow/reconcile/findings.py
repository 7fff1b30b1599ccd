"""A difference between what two of them know: in a sentence, with what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Difference(StrEnum):
    """The kinds of difference."""

    WORKFLOW_LOST = "workflow_lost"  # open on record, and no workflow runs it
    WORKFLOW_UNKNOWN = "workflow_unknown"  # Temporal has an update that is not on record
    WORKFLOW_BEHIND = "workflow_behind"  # Temporal is older than the record
    WORKFLOW_SILENT = "workflow_silent"  # it runs and does not answer
    RECORD_BEHIND = "record_behind"  # the record is older than what Temporal knows
    ACTION_UNHEARD = "action_unheard"  # its yes is in the journal, the workflow does not know it
    CERTIFICATE_UNKNOWN = "certificate_unknown"  # the CA issued for no update on record
    CERTIFICATE_NOT_TAKEN = "certificate_not_taken"  # its update does not know it
    CERTIFICATE_NOT_AT_CA = "certificate_not_at_ca"  # on record, and the CA never issued it
    REQUEST_UNKNOWN = "request_unknown"  # the CA is asked, for no update or one that is over
    REQUEST_NOT_AT_CA = "request_not_at_ca"  # an update waits for a request that the CA has not
    REVOCATION_MISSING = "revocation_missing"  # the CA revoked it, the record does not say so
    REVOCATION_UNDONE = "revocation_undone"  # the record says revoked, the CA does not
    AFTERWORK_OWED = "afterwork_owed"  # an ended update left something to do at the CA
    LOST_CARD_OPEN = "lost_card_open"  # reported lost, and its update goes on
    LOST_CARD_TRUSTED = "lost_card_trusted"  # reported lost, and its certificates are good
    MAIL_STUCK = "mail_stuck"  # queued, and nothing delivers it
    DOCUMENT_MISSING = "document_missing"  # on record, and not in the store, or changed there
    RECORD_CUT = "record_cut"  # a checkpoint outside covers more than the audit trail has


@dataclass(frozen=True)
class Finding:
    """One difference; ``mended`` says what was done about it, and is empty while it stands."""

    difference: Difference
    about: str  # the id of the update, certificate, request or document
    text: str
    remedy: str
    mended: str = ""
