"""What a job will do to the card, in the words that the PIN prompt shows."""

from cardflow.jobs import CleanUpJob, ClearJob, InspectJob, Job, PrepareJob, SignJob, WriteJob

SHOWN_DIGITS = 16


def purpose(job: Job) -> str:
    """Return one sentence; whoever types the PIN agrees to it."""
    match job:
        case PrepareJob():
            titles = ", ".join(order.title for order in job.keys)
            return f"{_count(len(job.keys), 'new key')} made on the card: {titles}" + _debts(job)
        case WriteJob():
            titles = ", ".join(order.title for order in job.certificates)
            count = _count(len(job.certificates), "certificate")
            return f"{count} written to the card: {titles}" + _debts(job)
        case CleanUpJob():
            return f"{_count(len(job.retire), 'replaced object')} removed from the card"
        case ClearJob():
            count = _count(len(job.objects), "object")
            return f"the card is cleared: {count} of your organisation removed"
        case SignJob():
            return f"you sign “{job.title}” (SHA-256 {_shortened(job.sha256)})"
        case InspectJob():
            return "the card is read"


def _debts(job: PrepareJob | WriteJob) -> str:
    if not job.debts:
        return ""
    return f"; {_count(len(job.debts), 'object')} of an update that ended removed"


def _shortened(digest: str) -> str:
    """Return the digest's beginning in fours, as the portal shows it."""
    return " ".join(digest[at : at + 4] for at in range(0, SHOWN_DIGITS, 4)) + " …"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
