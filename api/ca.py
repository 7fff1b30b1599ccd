"""The officers' desk at the embedded CA: what waits for a decision, and deciding it."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import StringConstraints
from temporalio.service import RPCError

from api.actions import accepted, record, told
from api.auth import may
from api.authorize import Caller, Permission
from api.idempotency import HEADER, GivenKey, id_for
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import In, Out, Reason
from api.state import Authority, Everything, State
from cardflow.ca.embedded.authority import EmbeddedCA
from cardflow.ca.embedded.requests import RequestFacts
from cardflow.db import audit
from cardflow.db.register_updates import answer_to, find_update, names_of
from cardflow.db.tables import Update
from cardflow.decisions import peek, utc_now
from cardflow.errors import Refused, Unavailable
from cardflow.model import Act, Action, Reply, Role, Stage, Verdict
from cardflow.policy import four_eyes_objections
from cardflow.sql import transaction
from workflows.card_update import CardUpdate, workflow_id

router = APIRouter(prefix="/ca", tags=["ca"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_REQUESTS))]
Officer = Annotated[Caller, Depends(may(Permission.DECIDE_REQUEST))]
RequestId = Annotated[str, Path(max_length=200)]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

PATIENCE = timedelta(seconds=3)

log = logging.getLogger(__name__)


class DecisionIn(In):
    """An officer's word on exactly what ``digest`` stands for."""

    verdict: Verdict
    reason: Reason = ""
    digest: Digest


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
    state: str
    profile: str
    title: str
    subject: str
    alternative_names: list[str]
    person_id: str
    person_name: str
    requested_by: str
    requested_by_name: str
    created_at: datetime
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


@router.get("/requests", operation_id="list_ca_requests", responses=problems())
async def show_requests(
    caller: Reader,
    session: Reading,
    authority: Authority,
    paging: Annotated[Paging, Depends()],
    state: Annotated[Literal["pending"], Query()] = "pending",  # noqa: ARG001 named for later states
) -> Page[RequestOut]:
    """List what waits for officers, what waits longest first."""
    found = await authority.pending_requests()
    ids = [facts.request_id for facts in found]
    after = paging.after("ca requests")
    start = ids.index(after) + 1 if after in ids else 0
    names = await names_of(session, {id_ for facts in found for id_ in _people(facts)})
    return page(
        "ca requests",
        found[start : start + paging.limit + 1],
        paging,
        lambda facts: facts.request_id,
        lambda facts: _shown(facts, names, caller),
    )


@router.get("/requests/{request_id}", operation_id="show_ca_request", responses=problems(404))
async def show_request(
    request_id: RequestId, caller: Reader, session: Reading, authority: Authority
) -> RequestOut:
    """Return everything that a decision on a request rests on."""
    facts = await _facts(authority, request_id)
    return _shown(facts, await names_of(session, _people(facts)), caller)


@router.post(
    "/requests/{request_id}/decisions",
    status_code=201,
    operation_id="decide_ca_request",
    responses=problems(404, 409, 413),
)
async def decide_request(
    request_id: RequestId,
    body: DecisionIn,
    caller: Officer,
    state: Everything,
    key: GivenKey,
) -> RequestOut:
    """Approve or reject a request; the certificate is made once enough officers said yes."""
    authority = state.ca.authority()
    await _facts(authority, request_id)
    action = _action(request_id, body, caller, key)
    facts = await _decided(state, authority, request_id, action)
    async with transaction(state.reads) as session:
        names = await names_of(session, _people(facts))
        update = await find_update(session, action.update_id)
    if facts.state != "pending" and update:
        await _nudge(state, update, action.lane)
    return _shown(facts, names, caller)


def _action(request_id: str, body: DecisionIn, caller: Caller, key: str | None) -> Action:
    update_id, revision, lane = parts_of(request_id)
    return Action(
        id=id_for(caller, key),
        act=Act.DECIDE_REQUEST,
        update_id=update_id,
        actor=caller.id,
        role=Role.OFFICER,
        at=utc_now(),
        lane=lane,
        revision=revision,
        digest=body.digest,
        verdict=body.verdict,
        reason=body.reason,
    )


def parts_of(request_id: str) -> tuple[str, int, str]:
    """Return the update, the revision and the lane that a request's id names."""
    update_id, revision, lane = request_id.split(":", 2)
    return update_id, int(revision), lane


async def _decided(
    state: State, authority: EmbeddedCA, request_id: str, action: Action
) -> RequestFacts:
    """Journal first; the CA counts a repeated word once, so a repeat just asks it again."""
    entry = await record(state, action)
    if replace(peek(entry.token), at=action.at) != action:
        raise invalid(HEADER, "this key was used for another request", "use a new key")
    try:
        facts = await authority.decide(
            request_id,
            action.actor,
            action.verdict or Verdict.REJECT,
            action.reason,
            action.digest,
            token=entry.token,
        )
    except Refused as refusal:
        raise await told(state, refusal.objections) from refusal
    await _remember(state, action, facts)
    return facts


async def _remember(state: State, action: Action, facts: RequestFacts) -> None:
    reply = Reply(Stage.PENDING, f"the request is {facts.state}", action.id)
    said = {"request_id": facts.request_id, "verdict": action.verdict, "digest": action.digest}
    entry = audit.Entry(
        "request_decided", action.at, actor=action.actor, update_id=action.update_id, facts=said
    )
    async with transaction(state.sessions) as session:
        if await answer_to(session, action.id) is None:
            session.add(accepted(action, reply))
            await session.flush()
            await audit.append(session, entry)


async def _nudge(state: State, update: Update, lane: str) -> None:
    """Tell the update to ask the CA now; it asks later by itself if it does not hear this."""
    try:
        client = await state.temporal.client()
        handle = client.get_workflow_handle_for(CardUpdate.run, workflow_id(update.card_id))
        await handle.signal(CardUpdate.ca_answered, lane, rpc_timeout=PATIENCE)
    except (RPCError, Unavailable) as error:
        log.warning("update %s was not told of its CA's answer: %s", update.id, error)


async def _facts(authority: EmbeddedCA, request_id: str) -> RequestFacts:
    try:
        return await authority.request(request_id)
    except Refused as error:
        raise not_found("request") from error


def _people(facts: RequestFacts) -> set[str]:
    return {facts.person_id, facts.requested_by, *(d.officer for d in facts.decisions)}


def _shown(facts: RequestFacts, names: dict[str, str], caller: Caller) -> RequestOut:
    update_id, _, lane = parts_of(facts.request_id)
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
        may_decide=_may_decide(facts, caller),
    )


def _may_decide(facts: RequestFacts, caller: Caller) -> bool:
    return (
        Role.OFFICER in caller.roles
        and facts.state == "pending"
        and not four_eyes_objections(caller.id, (facts.person_id, facts.requested_by))
        and all(decision.officer != caller.id for decision in facts.decisions)
    )
