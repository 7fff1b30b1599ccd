"""What a counted action changes: the state, the record, and the answer to whoever acted."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import replace

    from cardflow import lifecycle, policy
    from cardflow.model import (
        Act,
        Action,
        DocumentKind,
        EventKind,
        Lane,
        LaneStage,
        MailKind,
        Stage,
        Verdict,
    )
    from workflows.case import Case

CHECKING = (LaneStage.CHECKING_REQUEST_FORM, LaneStage.CHECKING_CERTIFICATE_FORM)


def take(desk: Case, action: Action, token: str) -> str:
    """Carry out an action that nothing speaks against; return the answer in words."""
    match action.act:
        case Act.CONTINUE | Act.SIGN_DOCUMENT:
            assert action.visit is not None  # noqa: S101 policy.objections demands it
            desk.state = lifecycle.visit_begun(desk.state, action.visit)
            return "enter your PIN in the window of the agent"
        case Act.SUBMIT_DOCUMENT:
            return _submit(desk, action, token)
        case Act.WITHDRAW_DOCUMENT:
            return _withdraw(desk, action, token)
        case Act.DECIDE_DOCUMENT:
            return _decide(desk, action, token)
        case Act.CANCEL:
            return _cancel(desk, action)
        case Act.REPORT_LOST:
            return _report_lost(desk, action, token)
        case Act.RETRY:
            desk.state = lifecycle.retried(desk.state)
            desk.note(EventKind.RETRIED, actor=action.actor, token=token)
            return "another try was ordered"
    raise AssertionError(action.act)


def _submit(desk: Case, action: Action, token: str) -> str:
    before = desk.lane(action.lane)
    assert action.document is not None  # noqa: S101 policy.objections demands it
    facts = {
        "document_id": action.document.id,
        "sha256": action.document.sha256,
        "kind": action.document.kind.value,
        "means": action.document.means.value,
        "signature": action.document.signature.value,
    }
    if before.stage in CHECKING and before.document:
        facts["replaces"] = before.document.id
    desk.state = lifecycle.submitted(desk.state, action)
    lane = desk.lane(action.lane)
    checked = lane.stage in CHECKING and not lifecycle.approves_itself(lane)
    desk.note(
        EventKind.DOCUMENT_RECEIVED, lane=action.lane, actor=action.actor, facts=facts,
        token=token, mail=MailKind.DOCUMENT_RECEIVED if checked else None,
    )  # fmt: skip
    if lane.stage in CHECKING and not checked:
        return _approve_by_policy(desk, lane)
    return (
        "the document is with the operators" if checked else "the request is on its way to the CA"
    )


def _approve_by_policy(desk: Case, lane: Lane) -> str:
    """The machine's findings are all good, and the policy says that this is enough."""
    name, digest = lane.plan.lane, policy.decision_digest(desk.update, lane)
    desk.state = lifecycle.approved_by_policy(desk.state, name, digest=digest, now=desk.now)
    facts = {
        "document_id": lane.document.id if lane.document else "",
        "digest": digest,
        "reason": "the policy approves a valid electronic signature",
        "complete": "yes",
    }
    is_last = lifecycle.document_kind(lane.stage) is DocumentKind.CERTIFICATE_FORM
    desk.note(EventKind.DOCUMENT_APPROVED, lane=name, facts=facts,
              mail=MailKind.DOCUMENT_APPROVED if is_last else None)  # fmt: skip
    return "the electronic signature is valid: the document was approved"


def _withdraw(desk: Case, action: Action, token: str) -> str:
    document = desk.lane(action.lane).document
    facts = {"document_id": document.id if document else ""}
    desk.state = lifecycle.withdrawn(desk.state, action)
    desk.note(EventKind.DOCUMENT_WITHDRAWN, lane=action.lane, actor=action.actor, facts=facts,
              token=token)  # fmt: skip
    return "the document was taken back"


def _decide(desk: Case, action: Action, token: str) -> str:
    before = desk.lane(action.lane)
    document = before.document.id if before.document else ""
    facts = {"document_id": document, "digest": action.digest, "reason": action.reason}
    desk.state = lifecycle.decided(desk.state, action)
    if action.verdict is Verdict.REJECT:
        desk.note(EventKind.DOCUMENT_REJECTED, lane=action.lane, actor=action.actor, facts=facts,
                  token=token, mail=MailKind.DOCUMENT_REJECTED)  # fmt: skip
        return "the document was rejected; the holder is asked to send it again"
    complete = desk.lane(action.lane).stage is not before.stage
    form = lifecycle.document_kind(before.stage)
    # The check of a request form is between operators; its holder hears from the CA.
    tell = complete and form is DocumentKind.CERTIFICATE_FORM
    desk.note(
        EventKind.DOCUMENT_APPROVED, lane=action.lane, actor=action.actor, token=token,
        facts={**facts, "complete": "yes" if complete else "no"},
        mail=MailKind.DOCUMENT_APPROVED if tell else None,
    )  # fmt: skip
    return "the document was approved" if complete else "approved; another person must approve too"


def _cancel(desk: Case, action: Action) -> str:
    reason = action.reason or "cancelled"
    desk.state = lifecycle.undone(desk.state, LaneStage.CANCELLED, reason, action.at)
    desk.state = replace(desk.state, ended=Stage.CANCELLED, ended_because=reason)
    return "the update was cancelled; the old certificates stay in place"


def _report_lost(desk: Case, action: Action, token: str) -> str:
    reason = f"the card was reported lost: {action.reason}".removesuffix(": ")
    desk.state = lifecycle.lost(desk.state, reason, action.at)
    desk.note(EventKind.REPORTED_LOST, actor=action.actor, facts={"reason": action.reason},
              token=token)  # fmt: skip
    return "the card is blocked; the update has ended and every certificate of the card is revoked"
