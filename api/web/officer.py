"""The CA officers' pages: what waits for a decision, and deciding it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api import ca
from api.authorize import Caller
from api.ca_shapes import ExaminedOut, RequestOut
from api.documents import show_documents
from api.paging import Page, Paging
from api.problems import Problem
from api.routing import Reading
from api.state import Authority, Everything, State
from api.updates import HappenedOut, show_timeline
from api.web.live import version_of
from api.web.render import go, page
from api.web.step_up import PageRoute
from api.web.tongue import N_
from api.web.whose import whose
from cardflow.ca.tables import State as Standing
from cardflow.documents.pictures import SHOWN
from cardflow.model import DocumentKind, Verdict
from cardflow.sql import transaction

PRECHECKS = ("document_approved", "document_rejected")
KIND = DocumentKind.REQUEST_FORM
AGES = (0, 1, 3, 7, 14, 30)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Typed = Annotated[str, Query(max_length=200)]


@router.get("/ca/requests", name="requests_page")
async def requests_page(
    *,
    request: Request,
    caller: ca.Reader,
    session: Reading,
    authority: Authority,
    state: Everything,
    paging: Annotated[Paging, Depends()],
    standing: Annotated[ca.Listing, Query(alias="state")] = ca.Listing.PENDING,
    profile: Annotated[str, Query(max_length=64)] = "",
    person: Typed = "",
    older_than_days: Annotated[int, Query(ge=0, le=36_500)] = 0,
) -> Response:
    """Return what waits for officers, or what became of it."""
    seen = await version_of(session, caller, "requests")
    who = await whose(session, person)
    asked = ca.Asked(standing, profile, who.id, older_than_days)
    found = Page[RequestOut](items=[])
    if not who.unclear:
        found = await ca.show_requests(caller, session, authority, paging, asked)
    return page(
        request,
        "ca/requests.html",
        seen=seen,
        asked=asked,
        who=who,
        found=found,
        profiles=state.profiles,
        ages=AGES,
    )


@router.get("/ca/requests/{request_id}", name="request_page")
async def request_page(
    request: Request, request_id: ca.RequestId, caller: ca.Reader, state: Everything
) -> Response:
    """Return everything that a decision rests on, and the form that takes it."""
    return await _shown(request, request_id, caller, state)


@router.post("/ca/requests/{request_id}", name="request_form")
async def decide(
    *,
    request: Request,
    request_id: ca.RequestId,
    caller: ca.Officer,
    state: Everything,
    verdict: Annotated[Verdict, Form()],
    digest: Annotated[ca.Digest, Form()],
    reason: Annotated[str, Form(max_length=1000)] = "",
    key: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Take the officer's word on what was shown."""
    body = ca.DecisionIn(verdict=verdict, reason=reason, digest=digest)
    try:
        decided = await ca.decide_request(request_id, body, caller, state, key or None)
    except Problem as problem:
        return await _shown(
            request, request_id, caller, state, problem=problem, given={"reason": reason}
        )
    return go(request, "/ca/requests", _notice(decided))


def _notice(decided: RequestOut) -> str:
    if decided.state is Standing.REJECTED:
        return N_("You rejected the request. Its holder is told why.")
    if decided.state is Standing.PENDING:
        return N_("You approved the request. Another officer must approve it too.")
    return N_("You approved the request. The certificate is being made.")


async def _shown(
    request: Request, request_id: str, caller: Caller, state: State, **more: Any
) -> Response:
    async with transaction(state.reads) as session:
        topic = f"request:{request_id}"
        seen = await version_of(session, caller, topic)
        shown = await ca.show_request(request_id, caller, session, state.ca.authority())
        return page(
            request,
            "ca/request.html",
            topic=topic,
            seen=seen,
            shown=shown,
            **await _forms(caller, session, shown),
            prechecks=await _prechecks(caller, session, shown),
            **more,
        )


async def _forms(caller: Caller, session: AsyncSession, shown: ExaminedOut) -> dict[str, Any]:
    """Return the signed request forms of the lane, the newest first, and how to look at them."""
    try:
        found = (await show_documents(shown.update_id, caller, session)).items
    except Problem:
        found = []  # asked for by something else than an update of ours
    forms = [d for d in reversed(found) if d.lane == shown.lane and d.kind is KIND]
    return {
        "documents": [form for form in forms if form.direction == "received"],
        "issued": {form.sha256 for form in forms if form.direction == "issued"},
        "pictured": SHOWN,
    }


async def _prechecks(
    caller: Caller, session: AsyncSession, shown: ExaminedOut
) -> list[HappenedOut]:
    """Return what operators decided on the lane's forms, in order."""
    try:
        told = (await show_timeline(shown.update_id, caller, session)).items
    except Problem:
        return []
    return [fact for fact in told if fact.lane == shown.lane and fact.kind in PRECHECKS]
