"""What officers may decide: four eyes, on exactly what they were shown, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from cardflow import decisions
from cardflow.ca.embedded.requests import decisions_on, digest_of, profile_of
from cardflow.ca.tables import CaDecision, CaRequest, State
from cardflow.errors import Refused
from cardflow.model import Act, Approval, Profile, Role, Verdict
from cardflow.policy import four_eyes_objections

LONGEST_REASON = 2_000


@dataclass(frozen=True)
class Word:
    """What one officer says; ``token`` is the signed action that carries it."""

    officer: str
    verdict: Verdict
    reason: str
    digest: str
    token: str


async def decide(session: AsyncSession, row: CaRequest, word: Word, now: datetime) -> None:
    """Count the word, or raise Refused; saying the same thing again changes nothing."""
    earlier = await decisions_on(session, row.request_id)
    if any(_repeats(d, word) for d in earlier):
        return
    if found := _objections(row, word, earlier):
        raise Refused(*found)
    session.add(
        CaDecision(
            request_id=row.request_id,
            officer=word.officer,
            verdict=word.verdict,
            reason=word.reason,
            digest=word.digest,
            token=word.token,
            at=now,
        )
    )
    approvals = sum(d.verdict == Verdict.APPROVE for d in earlier) + 1
    if word.verdict is Verdict.REJECT:
        row.state, row.reason, row.ended_at = State.REJECTED, word.reason, now
    elif approvals >= profile_of(row).officers_needed:
        row.state, row.ended_at = State.APPROVED, now


def _repeats(decision: CaDecision, word: Word) -> bool:
    return (decision.officer, decision.verdict, decision.digest) == (
        word.officer,
        word.verdict,
        word.digest,
    )


def _objections(row: CaRequest, word: Word, earlier: Sequence[CaDecision]) -> list[str]:
    if row.state == State.CANCELLED:
        return ["too late: the request was withdrawn"]
    if row.state != State.PENDING:
        return [_too_late(earlier)]
    found = four_eyes_objections(word.officer, (row.person_id, row.requested_by))
    if word.digest != digest_of(row):
        found.append("digest: the request is not the one that was shown; look at it again")
    if any(d.officer == word.officer for d in earlier):
        found.append("you have already decided on this request; another officer must")
    if word.verdict is Verdict.REJECT and not word.reason.strip():
        found.append("reason: a rejection needs a reason")
    if len(word.reason) > LONGEST_REASON:
        found.append(f"reason: longer than {LONGEST_REASON} characters")
    return found


def _too_late(earlier: Sequence[CaDecision]) -> str:
    if not earlier:
        return "too late: no officer is needed for this request"
    last = earlier[-1]
    done = "approved" if last.verdict == Verdict.APPROVE else "rejected"
    return f"too late: {last.officer} {done} it on {last.at:%Y-%m-%d %H:%M} UTC"


# What the worker checks before it signs


def approval_objections(
    row: CaRequest, given: Sequence[CaDecision], current: Profile | None, decision_root: str | None
) -> list[str]:
    """Return why the request must not be signed although its state says approved.

    The database may have been written to by others. So the profile in force counts too where it
    is stricter, and each approval must carry the officer's signed action when a root is set.
    """
    needed = max(_officers_needed(profile_of(row)), _officers_needed(current) if current else 0)
    digest = digest_of(row)
    own = (row.person_id, row.requested_by)
    officers = {
        d.officer
        for d in given
        if d.verdict == Verdict.APPROVE
        and d.digest == digest
        and not four_eyes_objections(d.officer, own)
        and not (decision_root and token_objections(_word(d), decision_root))
    }
    if len(officers) >= needed:
        return []
    return [f"{needed} officers must approve this request, and {len(officers)} provably did"]


def _officers_needed(profile: Profile) -> int:
    return profile.officers_needed if profile.approval is Approval.OFFICER else 0


def _word(decision: CaDecision) -> Word:
    return Word(
        decision.officer,
        Verdict(decision.verdict),
        decision.reason,
        decision.digest,
        decision.token,
    )


def token_objections(word: Word, decision_root: str) -> list[str]:
    """Return why the token does not prove the word."""
    try:
        action = decisions.read(word.token, decision_root)
    except Refused as error:
        return error.objections
    said = (action.act, action.role, action.actor, action.verdict, action.digest)
    meant = (Act.DECIDE_REQUEST, Role.OFFICER, word.officer, word.verdict, word.digest)
    return [] if said == meant else ["the signed action is for another decision"]
