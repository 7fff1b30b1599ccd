"""Keys that change while an agent stays the same: its device's, and the server's that it pinned."""

from datetime import datetime

from fastapi import APIRouter, Request

from api.agent_caller import admitted, said, takes
from api.problems import FieldProblem, Problem, public_problems
from api.state import Everything
from cardflow.db import audit
from cardflow.db.register_agents import agent_with_key
from cardflow.db.tables import Agent
from cardflow.decisions import utc_now
from cardflow.device_keys import NewDeviceKey, check_new_device_key
from cardflow.enrolment import fingerprint_words
from cardflow.errors import Refused
from cardflow.job_keys import JobKeys

router = APIRouter(prefix="/agent/v1", tags=["agent door"])


@router.post(
    "/device-key",
    operation_id="change_device_key",
    responses=public_problems(401, 403, 409, 413, 422, 426, 503),
    openapi_extra=takes(NewDeviceKey),
)
async def change_device_key(request: Request, state: Everything) -> dict[str, str]:
    """Take the workstation's new key in place of the one that signed this; the old one is over."""
    async with admitted(request, state, with_old_key=True) as call:
        new = said(NewDeviceKey, call.body)
        if new.public_key != call.agent.public_key:
            try:
                check_new_device_key(new, call.agent.id)
            except Refused as refusal:
                field = str(refusal).partition(":")[0]
                reason = FieldProblem(field=field, reason=str(refusal))
                raise Problem(422, str(refusal), reason) from refusal
            if await agent_with_key(call.session, new.public_key):
                raise Problem(409, "another workstation has this key")
            await audit.append(call.session, _changed(call.agent, new.public_key, utc_now()))
    return {}


@router.get(
    "/job-keys",
    operation_id="show_job_keys",
    responses=public_problems(401, 403, 422, 426, 503),
)
async def show_job_keys(request: Request, state: Everything) -> JobKeys:
    """Return how the key that signs jobs has changed: each statement signed by the key before."""
    async with admitted(request, state):
        return state.keys.job_keys


def _changed(agent: Agent, public_key: str, now: datetime) -> audit.Entry:
    facts = {"agent_id": agent.id, "old_key": agent.public_key, "public_key": public_key}
    agent.public_key, agent.key_since = public_key, now
    agent.words = fingerprint_words(bytes.fromhex(public_key))
    return audit.Entry("agent_key_changed", now, actor=agent.person_id, facts=facts)
