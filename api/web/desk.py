"""The operators' desk: what waits, who takes it, and the decision on a document."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import work
from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.documents import DocumentOut, show_documents
from api.paging import Paging
from api.policies import show_policies
from api.problems import Problem, invalid, not_found
from api.routing import Reading, Transaction
from api.shapes import Id
from api.state import AppSettings, Everything, State
from api.update_shapes import LaneOut, UpdateOut
from api.updates import (
    DecisionIn,
    HappenedOut,
    LaneName,
    decide_document,
    show_timeline,
    show_update,
)
from api.web.live import version_of
from api.web.render import go, local, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from cardflow.decisions import utc_now
from cardflow.documents.pictures import SHOWN
from cardflow.model import Act, Verdict
from cardflow.policy import AWAITING, CHECKING, four_eyes_objections

DECIDED = ("document_approved", "document_rejected")
NOTICES = {
    "the document was approved": N_("The document is approved."),
    "approved; another person must approve too": N_("Approved; another person must approve too."),
    "the document was rejected; the holder is asked to send it again": N_(
        "The document is rejected; its holder is asked to send it again."
    ),
}

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Worker = Annotated[Caller, Depends(may(Permission.SEE_WORK))]
Decider = Annotated[Caller, Depends(may(Permission.DECIDE_DOCUMENT))]
Key = Annotated[str, Form(max_length=100)]
Text = Annotated[str, Form(max_length=2000)]
Short = Annotated[str, Form(max_length=500)]


@router.get("/work", name="work_page")
async def work_page(
    request: Request,
    caller: Worker,
    session: Reading,
    paging: Annotated[Paging, Depends()],
    asked: Annotated[work.Asked, Depends()],
) -> Response:
    """Return what waits for the person."""
    return await _list(request, caller, session, paging, asked)


async def _list(
    request: Request, caller: Caller, session: AsyncSession, paging: Paging, asked: work.Asked
) -> Response:
    seen = await version_of(session, caller, "work")
    found = await work.show_work(caller, session, paging, asked)
    policies = await show_policies(caller, session, Paging(limit=200))
    names = [policy.name for policy in policies.items]
    return page(
        request, "operator/work.html", work=found, asked=asked, policies=names, seen=seen, link=link
    )


def link(one: work.WorkOut) -> str:
    """Return where a piece of work is done."""
    if one.party == "officer":
        return f"/ca/requests/{one.request_id}"
    if one.party == "operator":
        return f"/work/{one.update_id}/{one.lane}"
    return f"/updates/{one.update_id}"


@router.post("/work/{update_id}/{lane}/claim", name="claim_form")
async def claim(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Worker,
    session: Transaction,
    settings: AppSettings,
    what: Short = "claim",
    next: Short = "/work",
) -> Response:
    """Claim a piece of work, take it over, or release it."""
    if what == "release":
        await work.release_work(update_id, lane, caller, session)
        return go(request, local(next), N_("It is free for the others again."))
    body = work.ClaimIn(take_over=what == "take_over")
    await work.claim_work(
        update_id=update_id, lane=lane, caller=caller, session=session, settings=settings, body=body
    )
    return go(request, local(next), N_("You have claimed it: the others see that."))


@router.get("/work/{update_id}/{lane}", name="decision_page")
async def decision_page(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Decider,
    session: Reading,
    state: Everything,
    shown: str = "",
) -> Response:
    """Return the document beside the form, and everything that speaks for and against it."""
    return await _decision(request, caller, session, state, (update_id, lane), shown=shown)


@router.post(
    "/work/{update_id}/{lane}",
    name="decision_form",
    dependencies=[Depends(may(Permission.DECIDE_DOCUMENT, Proof.IN_PERSON))],
)
async def decide(
    *,
    request: Request,
    update_id: Id,
    lane: LaneName,
    caller: Decider,
    session: Reading,
    state: Everything,
    verdict: Short = "",
    digest: Short = "",
    template: Short = "",
    reason: Text = "",
    key: Key = "",
) -> Response:
    """Approve or reject exactly what was shown."""
    given = {"template": template, "reason": reason}
    try:
        said = " ".join(part.strip() for part in (template, reason) if part.strip())
        body = _body(verdict, said if verdict == Verdict.REJECT else "", digest)
        reply = await decide_document(
            update_id=update_id, lane=lane, body=body, caller=caller, state=state, key=key or None
        )
    except Problem as problem:
        where = (update_id, lane)
        return await _decision(request, caller, session, state, where, problem=problem, given=given)
    return go(request, "/work", NOTICES.get(reply.message, reply.message))


def _body(verdict: str, reason: str, digest: str) -> DecisionIn:
    try:
        return DecisionIn(verdict=Verdict(verdict), reason=reason, digest=digest)
    except ValueError:
        remedy = "choose approve or reject; a reason has at most 1000 characters"
        raise invalid("reason", "the decision cannot be read", remedy) from None


async def _decision(
    request: Request,
    caller: Caller,
    session: AsyncSession,
    state: State,
    where: tuple[str, str],
    *,
    shown: str = "",
    problem: Problem | None = None,
    given: dict[str, Any] | None = None,
) -> Response:
    update_id, name = where
    seen = await version_of(session, caller, f"update:{update_id}")
    update = await show_update(update_id, caller, session, state)
    lane = lane_named(update, name)
    documents = (await show_documents(update_id, caller, session)).items
    told = (await show_timeline(update_id, caller, session)).items
    can_claim, claimed = await work.claim_on(session, caller, update_id, name)
    return page(
        request,
        "operator/decide.html",
        problem=problem,
        given=given,
        seen=seen,
        update=update,
        lane=lane,
        shown=shown or lane.decision_digest,
        changed=bool(shown) and shown != lane.decision_digest,
        under_check=lane.stage in CHECKING,
        awaited=lane.stage in AWAITING,
        against=_against(caller, update, lane),
        may_decide=Act.DECIDE_DOCUMENT in lane.may,
        last=_last(told, name),
        can_claim=can_claim,
        claim=claimed,
        due=work.due_mark(update.due_at, utc_now()),
        **_papers(lane, documents, told),
    )


def lane_named(update: UpdateOut, name: str) -> LaneOut:
    """Return the update's lane of this name, or raise Problem 404."""
    found = next((lane for lane in update.lanes if lane.lane == name), None)
    if found is None:
        raise not_found("lane")
    return found


def _against(caller: Caller, update: UpdateOut, lane: LaneOut) -> list[str]:
    """Return why somebody else must decide."""
    if lane.stage not in CHECKING:
        return []
    found = four_eyes_objections(caller.person, (update.holder.id, update.started_by.id))
    if caller.person in {person.id for person in lane.approvals}:
        found.append("you have approved it; another person must approve too")
    return found


def _last(told: list[HappenedOut], lane: str) -> HappenedOut | None:
    return next((x for x in reversed(told) if x.lane == lane and x.kind in DECIDED), None)


def _papers(lane: LaneOut, documents: list[DocumentOut], told: list[HappenedOut]) -> dict[str, Any]:
    """Return the document under check, the form it answers, and what was handed in before."""
    mine = [document for document in documents if document.lane == lane.lane]
    current = next((x for x in mine if lane.document and x.id == lane.document.id), None)
    kind = current.kind if current else lane.form
    issued = [
        x for x in mine if x.direction == "issued" and (x.kind, x.revision) == (kind, lane.revision)
    ]
    rejections = {x.facts.get("document_id"): x for x in told if x.kind == "document_rejected"}
    earlier = [x for x in mine if x.direction == "received" and x is not current]
    return {
        "document": current,
        "form": issued[-1] if issued else None,
        "unsigned": bool(current and current.sha256 in {x.sha256 for x in issued}),
        "earlier": [(x, rejections.get(x.id)) for x in reversed(earlier)],
        "pictured": SHOWN,
    }
