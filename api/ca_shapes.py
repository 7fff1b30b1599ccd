"""The shapes in which officers and auditors see requests at the embedded CA."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.authorize import Caller, Permission, grants
from api.shapes import Out
from cardflow.ca.embedded.intake import Examination
from cardflow.ca.embedded.requests import RequestFacts
from cardflow.ca.tables import State
from cardflow.db.register_updates import Patience
from cardflow.model import Verdict
from cardflow.policy import four_eyes_objections


class DecisionOut(Out):
    """One officer's word."""

    officer: str
    officer_name: str
    verdict: Verdict
    reason: str
    at: datetime


class RequestOut(Out):
    """What an officer is shown of a request; ``decision_digest`` is what they decide on."""

    id: str
    update_id: str
    lane: str
    state: State
    profile: str
    title: str
    subject: str
    alternative_names: list[str]
    person_id: str
    person_name: str
    requested_by: str
    requested_by_name: str
    created_at: datetime
    ended_at: datetime | None
    due_at: datetime | None  # when the update's deadline passes
    overdue: bool  # it waits for longer than the policy's ``reminder_hours``
    key_type: str
    spki_sha256: str
    validity_days: int
    officers_needed: int
    decision_digest: str
    remarks: list[str]
    decisions: list[DecisionOut]
    reason: str
    serial_number: str
    may_decide: bool
    objections: list[str]  # why you may not


class FindingOut(Out):
    """What pkilint says of the certificate; a serious finding is never signed."""

    severity: str
    code: str
    message: str
    serious: bool


class ExaminedOut(RequestOut):
    """A request with everything that a decision rests on; the linter ran just now."""

    csr_subject: str
    csr_pem: str
    security_bits: int
    signature_hash: str
    proof_of_possession: bool
    key_usage: list[str]
    extended_key_usage: list[str]
    findings: list[FindingOut]


@dataclass(frozen=True)
class Around:
    """What is known around requests: people's names, and the patience of their updates."""

    now: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    patience: Mapping[str, Patience] = field(default_factory=dict)

    def overdue(self, facts: RequestFacts) -> bool:
        """Tell whether officers keep the request waiting for longer than its policy likes."""
        known = self.patience.get(parts_of(facts.request_id)[0])
        if known is None or facts.state is not State.PENDING:
            return False
        return self.now - facts.submitted_at > timedelta(hours=known.reminder_hours)


def parts_of(request_id: str) -> tuple[str, int, str]:
    """Return the update, the revision and the lane that a request's id names."""
    update_id, revision, lane = request_id.split(":", 2)
    return update_id, int(revision), lane


def people_of(facts: RequestFacts) -> set[str]:
    """Return the ids of everybody who is named in what is shown of a request."""
    return {facts.person_id, facts.requested_by, *(d.officer for d in facts.decisions)}


def why_not(facts: RequestFacts, caller: Caller) -> list[str]:
    """Return why the caller may not decide on the request; none means that they may."""
    if facts.state is not State.PENDING:
        return [f"the request is {facts.state}"]
    found = four_eyes_objections(caller.person, (facts.person_id, facts.requested_by))
    if any(decision.officer == caller.person for decision in facts.decisions):
        found.append("you have already decided on this request; another officer must")
    if not grants(caller, Permission.DECIDE_REQUEST):
        found.append("requests are decided by CA officers")
    return found


def shown_request(facts: RequestFacts, around: Around, caller: Caller) -> RequestOut:
    """Return the request as the caller sees it."""
    update_id, _, lane = parts_of(facts.request_id)
    known, names = around.patience.get(update_id), around.names
    objections = why_not(facts, caller)
    return RequestOut(
        id=facts.request_id,
        update_id=update_id,
        lane=lane,
        state=facts.state,
        profile=facts.profile,
        title=facts.title,
        subject=facts.subject,
        alternative_names=list(facts.alternative_names),
        person_id=facts.person_id,
        person_name=names.get(facts.person_id, ""),
        requested_by=facts.requested_by,
        requested_by_name=names.get(facts.requested_by, ""),
        created_at=facts.submitted_at,
        ended_at=facts.ended_at,
        due_at=known.due_at if known else None,
        overdue=around.overdue(facts),
        key_type=facts.key_type,
        spki_sha256=facts.spki_sha256,
        validity_days=facts.validity_days,
        officers_needed=facts.officers_needed,
        decision_digest=facts.digest,
        remarks=list(facts.remarks),
        decisions=[
            DecisionOut(
                officer=d.officer,
                officer_name=names.get(d.officer, ""),
                verdict=Verdict(d.verdict),
                reason=d.reason,
                at=d.at,
            )
            for d in facts.decisions
        ],
        reason=facts.reason,
        serial_number=facts.serial_number,
        may_decide=not objections,
        objections=objections,
    )


def shown_examined(request: RequestOut, found: Examination) -> ExaminedOut:
    """Return the request with what its examination found."""
    return ExaminedOut(
        **request.__dict__,
        csr_subject=found.csr.subject,
        csr_pem=found.csr_pem,
        security_bits=found.csr.security_bits,
        signature_hash=found.csr.signature_hash,
        proof_of_possession=found.csr.proof_of_possession,
        key_usage=list(found.profile.key_usage),
        extended_key_usage=list(found.profile.extended_key_usage),
        findings=[FindingOut.model_validate(finding) for finding in found.findings],
    )
