"""The officers' desk at the embedded CA: what waits for a decision, and deciding it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.service import RPCError

from api.actions import accepted, record, told
from api.auth import Proof, may
from api.authorize import Caller, Permission
from api.ca_shapes import (
    Around,
    ExaminedOut,
    RequestOut,
    parts_of,
    people_of,
    shown_examined,
    shown_request,
)
from api.idempotency import HEADER, GivenKey, id_for
from api.paging import Page, Paging, page
from api.problems import invalid, not_found, problems
from api.routing import GuardedRoute, Reading
from api.shapes import LINE, In, Reason
from api.state import Authority, Everything, State
from cardflow.ca.embedded.authority import EmbeddedCA
from cardflow.ca.embedded.requests import RequestFacts, Wanted
from cardflow.ca.tables import State as Standing
from cardflow.db import audit
from cardflow.db.register_updates import answer_to, find_update, names_of, patience_of
from cardflow.db.tables import Update
from cardflow.decisions import peek, utc_now
from cardflow.errors import Refused, Unavailable
from cardflow.failpoints import effect
from cardflow.model import Act, Action, Reply, Role, Stage, Verdict
from cardflow.sql import transaction
from workflows.card_update import CA_ANSWERED, CardUpdate, workflow_id

router = APIRouter(prefix="/ca", tags=["ca"], route_class=GuardedRoute)

Reader = Annotated[Caller, Depends(may(Permission.SEE_REQUESTS))]
Officer = Annotated[Caller, Depends(may(Permission.DECIDE_REQUEST, Proof.IN_PERSON))]
RequestId = Annotated[str, Path(max_length=200)]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]

PATIENCE = timedelta(seconds=3)

log = logging.getLogger(__name__)


class DecisionIn(In):
    """An officer's word on exactly what ``digest`` stands for."""

    verdict: Verdict
    reason: Reason = ""
    digest: Digest


class Listing(StrEnum):
    """Which requests a list is of."""

    PENDING = "pending"
    APPROVED = "approved"
    ISSUED = "issued"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DECIDED = "decided"
    ALL = "all"


STATES: dict[Listing, tuple[Standing, ...]] = {
    Listing.PENDING: (Standing.PENDING,),
    Listing.APPROVED: (Standing.APPROVED, Standing.SIGNING),
    Listing.ISSUED: (Standing.ISSUED,),
    Listing.REJECTED: (Standing.REJECTED,),
    Listing.CANCELLED: (Standing.CANCELLED,),
    Listing.DECIDED: (Standing.APPROVED, Standing.SIGNING, Standing.ISSUED, Standing.REJECTED),
    Listing.ALL: (),
}


@dataclass(frozen=True)
class Asked:
    """Which requests are asked for; an empty word does not narrow."""

    state: Annotated[Listing, Query()] = Listing.PENDING
    profile: Annotated[str, Query(max_length=64, pattern=LINE)] = ""
    person: Annotated[str, Query(max_length=36, pattern=LINE)] = ""
    older_than_days: Annotated[int, Query(ge=0, le=36_500)] = 0


@router.get("/requests", operation_id="list_ca_requests", responses=problems())
async def show_requests(
    caller: Reader,
    session: Reading,
    authority: Authority,
    paging: Annotated[Paging, Depends()],
    asked: Annotated[Asked, Depends()],
) -> Page[RequestOut]:
    """List requests: what waits for officers the oldest first, all else the newest first."""
    name, now = f"ca requests {asked.state}", utc_now()
    wanted = Wanted(
        states=STATES[asked.state],
        profile=asked.profile,
        person_id=asked.person,
        submitted_before=now - timedelta(days=asked.older_than_days),
        newest_first=asked.state is not Listing.PENDING,
    )
    after = _place(paging.after(name))
    found = await authority.list_requests(wanted, after=after, limit=paging.limit + 1)
    around = await _around(session, found)
    return page(name, found, paging, _key, lambda facts: shown_request(facts, around, caller))


@router.get("/requests/{request_id}", operation_id="show_ca_request", responses=problems(404, 409))
async def show_request(
    request_id: RequestId, caller: Reader, session: Reading, authority: Authority
) -> ExaminedOut:
    """Return everything that a decision on a request rests on; the linter runs for it."""
    facts = await _facts(authority, request_id)
    shown = shown_request(facts, await _around(session, [facts]), caller)
    return shown_examined(shown, await authority.examine(request_id))


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
        around = await _around(session, [facts])
        update = await find_update(session, action.update_id)
    if facts.state != "pending" and update:
        await _nudge(state, update, action.lane)
    return shown_request(facts, around, caller)


def _action(request_id: str, body: DecisionIn, caller: Caller, key: str | None) -> Action:
    update_id, revision, lane = parts_of(request_id)
    return Action(
        id=id_for(caller, key),
        act=Act.DECIDE_REQUEST,
        update_id=update_id,
        actor=caller.person,
        role=Role.OFFICER,
        at=utc_now(),
        lane=lane,
        revision=revision,
        digest=body.digest,
        verdict=body.verdict,
        reason=body.reason,
    )


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
    said = {
        "request_id": facts.request_id,
        "lane": action.lane,
        "verdict": action.verdict,
        "reason": action.reason,
        "digest": action.digest,
        "action_id": action.id,
    }
    entry = audit.Entry(
        "request_decided", action.at, actor=action.actor, update_id=action.update_id, facts=said
    )
    with effect("api.record_decision"):
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
        with effect("api.nudge"):
            await handle.signal(CA_ANSWERED, lane, rpc_timeout=PATIENCE)
    except (RPCError, Unavailable) as error:
        log.warning("update %s was not told of its CA's answer: %s", update.id, error)


async def _facts(authority: EmbeddedCA, request_id: str) -> RequestFacts:
    try:
        return await authority.request(request_id)
    except Refused as error:
        raise not_found("request") from error


async def _around(session: AsyncSession, found: Sequence[RequestFacts]) -> Around:
    people = {id_ for facts in found for id_ in people_of(facts)}
    updates = {parts_of(facts.request_id)[0] for facts in found}
    names, patience = await names_of(session, people), await patience_of(session, updates)
    return Around(utc_now(), names, patience)


def _key(facts: RequestFacts) -> str:
    return f"{facts.submitted_at.isoformat()} {facts.request_id}"


def _place(key: str) -> tuple[datetime, str] | None:
    if not key:
        return None
    try:
        at, request_id = key.split(" ", 1)
        return datetime.fromisoformat(at), request_id
    except ValueError:
        raise invalid("cursor", "it is not one that this list gave") from None
