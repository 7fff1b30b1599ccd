"""The agent door: workstations enrol, report their cards, take jobs and answer them."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, cast

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from prometheus_client import Gauge

from api.agent_caller import BODY_LIMIT, Call, admitted, check_standing, is_key_due, said, takes
from api.bridge import Bridge, Dismissed, Revoked
from api.card_tasks import CardTasks, Task, TaskOver
from api.enrolment import enrol
from api.job_tokens import JobSigner
from api.problems import Problem, invalid, public_problems
from api.sealing import Sealer
from api.shapes import Out
from api.state import Everything, State
from cardflow.db.register_agents import (
    Reported,
    find_agent,
    forget_nonces,
    holder_name,
    not_confirmed,
    replace_presence,
)
from cardflow.db.views import text_of
from cardflow.decisions import utc_now
from cardflow.device_keys import DUE
from cardflow.enrolment import EnrolmentAnswer, EnrolmentRequest
from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.jobs import JobResult, TokenReport
from cardflow.sql import transaction
from cardflow.wire import from_json

WAIT = 50  # seconds; shorter than what proxies on the way usually allow
CONNECTED = Gauge("cardflow_agents_connected", "Agents that wait for work at this process.")


@dataclass(frozen=True)
class PresenceIn:
    """Everything in the workstation's readers; what is not named is not there any more."""

    tokens: tuple[TokenReport, ...]


@dataclass(frozen=True)
class HeartbeatIn:
    """The job that is being carried out."""

    task: str


@dataclass(frozen=True)
class ResultIn:
    """How the job ended."""

    task: str
    result: JobResult


@dataclass(frozen=True)
class Handed:
    """What a sealed task holds: Temporal's token, and whose visit the job belongs to."""

    token_hex: str
    update_id: str
    visit_id: str
    workflow_id: str = ""  # a job that an earlier version handed out names none

    @property
    def token(self) -> bytes:
        """Temporal's task token."""
        return bytes.fromhex(self.token_hex)


class JobOut(Out):
    """A signed job, and the sealed name under which it is to be answered."""

    job: str
    task: str


class HeartbeatOut(Out):
    """Whether the job is to be given up."""

    cancelled: bool


@dataclass(frozen=True)
class Desk:
    """What the door needs besides the process's state: built when it opens."""

    bridge: Bridge
    sealer: Sealer
    jobs: JobSigner


@asynccontextmanager
async def _opened(app: FastAPI) -> AsyncIterator[None]:
    state: State = app.state.cardflow
    bridge = Bridge(CardTasks(state.temporal.client), _revoked_in(state))
    signer = JobSigner(lambda: state.keys.job_key, state.settings.door_url)
    app.state.agent_desk = Desk(bridge, Sealer(state.keys.sealing), signer)
    try:
        yield
    finally:
        await bridge.close()


def _revoked_in(state: State) -> Revoked:
    async def revoked(agent_ids: Collection[str]) -> set[str]:
        async with transaction(state.reads) as session:
            return await not_confirmed(session, agent_ids)

    return revoked


async def _desk(request: Request) -> Desk:
    return cast("Desk", request.app.state.agent_desk)


AtDesk = Annotated[Desk, Depends(_desk)]

router = APIRouter(prefix="/agent/v1", tags=["agent door"], lifespan=_opened)


@router.post(
    "/enrolments",
    status_code=201,
    operation_id="enrol_agent",
    responses=public_problems(401, 403, 413, 422, 426, 503),
    openapi_extra=takes(EnrolmentRequest),
)
async def enrol_agent(request: Request, state: Everything) -> EnrolmentAnswer:
    """Make a workstation known under a one-time code; a person must still confirm its words."""
    return await enrol(request, state)


@router.put(
    "/presence",
    status_code=204,
    operation_id="report_presence",
    responses=public_problems(401, 403, 413, 422, 426, 503),
    openapi_extra=takes(PresenceIn),
    max_body_size=BODY_LIMIT,
)
async def report_presence(request: Request, response: Response, state: Everything) -> None:
    """Tell what is in the readers, on each change and at least every 25 seconds."""
    with effect("api.presence"):
        async with admitted(request, state) as call:
            tokens = [_reported(report) for report in said(PresenceIn, call.body).tokens]
            if len({token.token_serial for token in tokens}) < len(tokens):
                raise invalid(
                    "tokens", "two report the same serial number", "report each token once"
                )
            await replace_presence(call.session, call.agent, tokens, now=utc_now())
            await forget_nonces(call.session, call.agent.id, now=utc_now())
            if is_key_due(state.settings, call.agent, utc_now()):
                response.headers[DUE] = "due"


@router.get(
    "/jobs",
    operation_id="next_job",
    response_model=JobOut,
    responses={204: {"description": "No job yet"}, **public_problems(401, 403, 422, 426, 503)},
)
async def next_job(
    request: Request,
    state: Everything,
    desk: AtDesk,
    wait: Annotated[int, Query(ge=2, le=WAIT)] = WAIT,
) -> Response | JobOut:
    """Wait for the next job; ask again at once, whatever the answer was."""
    async with admitted(request, state) as call:
        agent_id = call.agent.id
    gone = asyncio.ensure_future(_away(request, state))
    try:
        with CONNECTED.track_inprogress():
            task = await desk.bridge.next_task(agent_id, seconds=wait, gone=gone)
    except Dismissed:
        async with transaction(state.reads) as session:
            await check_standing(session, await find_agent(session, agent_id))
        return Response(status_code=204)  # whatever it was, it is over
    finally:
        gone.cancel()
    return await _handed(state, desk, agent_id, task) if task else Response(status_code=204)


@router.post(
    "/heartbeats",
    operation_id="send_heartbeat",
    responses=public_problems(401, 403, 410, 413, 422, 426, 503),
    openapi_extra=takes(HeartbeatIn),
)
async def send_heartbeat(request: Request, state: Everything, desk: AtDesk) -> HeartbeatOut:
    """Say that a job goes on, at least every 10 seconds; hear whether it is to be given up."""
    async with admitted(request, state) as call:
        token = opened_task(desk, call, said(HeartbeatIn, call.body).task).token
    try:
        return HeartbeatOut(cancelled=await desk.bridge.heartbeat(call.agent.id, token))
    except TaskOver:
        raise over() from None


@router.post(
    "/results",
    operation_id="send_result",
    responses=public_problems(401, 403, 410, 413, 422, 426, 503),
    openapi_extra=takes(ResultIn),
    max_body_size=BODY_LIMIT,
)
async def send_result(request: Request, state: Everything, desk: AtDesk) -> dict[str, str]:
    """Answer a job; the update goes on as soon as this returns."""
    async with admitted(request, state) as call:
        message = said(ResultIn, call.body)
        handed = opened_task(desk, call, message.task)
    try:
        await desk.bridge.complete(
            call.agent.id, handed.token, message.result, workflow_id=handed.workflow_id
        )
    except TaskOver:
        raise over() from None
    return {}


async def _away(request: Request, state: State) -> None:
    """Return when the agent has gone, or is to go: this process ends."""
    either = [asyncio.create_task(x) for x in (_disconnected(request), state.ending.wait())]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in either:
            waiting.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _handed(state: State, desk: Desk, agent_id: str, task: Task) -> JobOut:
    try:
        async with transaction(state.reads) as session:
            await check_standing(session, await find_agent(session, agent_id))
            holder = await holder_name(session, task.job.card.card_id)
    except Problem:
        await desk.bridge.give_back(agent_id, task)
        raise
    # The prompt names the holder; workflows know nobody's name, so it is put in here.
    asked = replace(task.job, card=replace(task.job.card, holder_name=holder))
    with effect("api.hand_out"):
        job = desk.jobs.sign(task.kind, asked, agent_id=agent_id, now=utc_now())
    card = task.job.card
    handed = Handed(task.token.hex(), card.update_id, card.visit_id, task.workflow_id)
    return JobOut(job=job, task=desk.sealer.seal(text_of(handed).encode(), agent_id))


def opened_task(desk: Desk, call: Call, task: str) -> Handed:
    """Return what a task stands for, or raise Problem 403 when it is not this agent's."""
    try:
        return from_json(Handed, json.loads(desk.sealer.open(task, call.agent.id)))
    except Refused as refusal:
        raise Problem(403, str(refusal), slug="foreign-job") from refusal


def _reported(report: TokenReport) -> Reported:
    # What a card that we cannot work with shows is no inventory to make a plan from.
    inventory = "" if report.unsupported else text_of(report.inventory)
    return Reported(report.token_serial, report.token_label, text_of(report), inventory)


def over() -> Problem:
    """Return the answer to somebody whose job has ended meanwhile."""
    return Problem(410, "nobody waits for this job any more; ask for the next one")
