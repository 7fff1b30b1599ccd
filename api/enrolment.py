"""How a workstation becomes known: it proves a one-time code, we prove it back."""

from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from api.agent_caller import check_version, said, signature_of
from api.mailing import domain_of, send_soon
from api.problems import Problem, invalid
from api.state import State
from cardflow.db import audit
from cardflow.db.agent_mails import queue_new_agent
from cardflow.db.register_agents import agent_with_key, find_code
from cardflow.db.tables import Agent, EnrolmentCode
from cardflow.decisions import utc_now
from cardflow.device_keys import device_key
from cardflow.enrolment import (
    EnrolmentAnswer,
    EnrolmentRequest,
    answer_proof,
    fingerprint_words,
    is_proof,
    request_proof,
)
from cardflow.errors import Refused
from cardflow.model import new_id
from cardflow.sql import transaction

MOST_TRIES = 5
NO_CODE = "the code is unknown, used up or older than 15 minutes; make a new one in the portal"


@dataclass(frozen=True)
class _Admission:
    """Who was let in under which code key; a refusal has no agent."""

    agent: Agent | None
    key: bytes
    is_new: bool = False


async def enrol(request: Request, state: State) -> EnrolmentAnswer:
    """Return the answer to a workstation that proved a code; asked again, it is the same."""
    body = await request.body()
    claim = said(EnrolmentRequest, body)
    signature_of(request, state, body, lambda key_id: _key_of(claim, key_id))
    check_version(state.settings, claim.version)
    if claim.server.rstrip("/") != state.settings.door_url:
        raise invalid("server", "this is not the server that the code was typed for")
    async with transaction(state.sessions) as session:  # no failpoint: its agent's request has one
        admission = await _admit(session, claim)
        told = await _told(state, session, admission)
    if admission.agent is None:
        raise Problem(403, NO_CODE, slug="enrolment-refused")
    send_soon(state, f"agent/{admission.agent.id}", told)
    answer = EnrolmentAnswer(
        agent_id=admission.agent.id,
        issuer=state.settings.door_url,
        job_key=_raw(state.keys.job_key.public_key()),
    )
    return replace(answer, proof=answer_proof(admission.key, claim, answer))


def _key_of(claim: EnrolmentRequest, key_id: str) -> Ed25519PublicKey:
    if key_id != claim.public_key:
        raise Refused("the request is signed by another key than it brings")
    return device_key(claim.public_key)


async def _admit(session: AsyncSession, claim: EnrolmentRequest) -> _Admission:
    """Count the try, whatever comes of it: this transaction is committed in every case."""
    code = await find_code(session, claim.code_id)
    if code is None or code.expires_at <= utc_now() or code.tries >= MOST_TRIES:
        return _Admission(None, b"")
    key = bytes.fromhex(code.key_hex)
    if not is_proof(request_proof(key, claim), claim.proof):
        code.tries += 1
        return _Admission(None, key)
    known = await agent_with_key(session, claim.public_key)
    if code.used_at is None and known is None:
        return _Admission(await _add(session, code, claim), key, is_new=True)
    # The answer to the first try may have been lost on its way.
    repeated = known is not None and known.person_id == code.person_id and code.used_at is not None
    return _Admission(known if repeated else None, key)


async def _add(session: AsyncSession, code: EnrolmentCode, claim: EnrolmentRequest) -> Agent:
    now = utc_now()
    code.used_at = now
    agent = Agent(
        id=new_id(),
        person_id=code.person_id,
        public_key=claim.public_key,
        words=fingerprint_words(bytes.fromhex(claim.public_key)),
        host=claim.host[:200],
        system=claim.system[:200],
        version=claim.version[:50],
        state="pending",
        enrolled_at=now,
        key_since=now,
    )
    session.add(agent)
    await session.flush()
    facts = {"agent_id": agent.id, "public_key": agent.public_key, "host": agent.host}
    await audit.append(session, audit.Entry("agent_enrolled", now, agent.person_id, facts=facts))
    return agent


async def _told(state: State, session: AsyncSession, admission: _Admission) -> list[str]:
    """Leave the mails about a new workstation with its row: none is enrolled in silence."""
    if admission.agent is None or not admission.is_new:
        return []
    domain = domain_of(state.settings)
    return await queue_new_agent(session, admission.agent, now=utc_now(), domain=domain)


def _raw(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
