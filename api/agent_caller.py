"""Which workstation is asking: every request at the agent door is signed, fresh, and used once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Request
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import REF, FieldProblem, Problem
from api.state import State
from cardflow.db.register_agents import find_agent, spend_nonce, touch
from cardflow.db.register_identity import find_person
from cardflow.db.tables import Agent
from cardflow.decisions import utc_now
from cardflow.errors import Refused, Unavailable
from cardflow.httpsig import Verified, verify
from cardflow.settings import Settings
from cardflow.sql import transaction
from cardflow.wire import LARGEST_INTEGER, TEXT_PATTERN, from_json, parsed

BODY_LIMIT = 1024 * 1024  # a thousand certificates
PRODUCT = re.compile(r"cardflow-agent/([0-9A-Za-z.+-]{1,50})")
VERSION = re.compile(r"\d{1,5}\.\d{1,5}(?![0-9])")
DISABLED = (
    "the person of this workstation is disabled; an administrator can let them in again,"
    " or end this agent"
)
TURN_SECONDS = 5  # that an agent waits among others for the database; its patience is longer
CROWDED = "too many workstations ask at once; ask again"
KEY_ID = re.compile(r';keyid="([A-Za-z0-9_:.-]{1,128})"')

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A request that counts: who made it, what it says, and the transaction that used it up."""

    agent: Agent
    body: bytes
    session: AsyncSession


@asynccontextmanager
async def admitted(
    request: Request, state: State, *, with_old_key: bool = False
) -> AsyncIterator[Call]:
    """Yield the call of a confirmed agent; its nonce and its effect are committed together.

    A device key that has become too old serves for nothing but bringing its successor.
    """
    body = await request.body()
    async with _in_turn(state) as session:
        now = utc_now()
        agent = await _signer_of(request, session)
        verified = _verified(request, state, body, agent)
        request.state.agent_id = agent.id  # the row itself is gone when this is refused
        await check_standing(session, agent)
        check_version(state.settings, version_of(request) or agent.version)
        if not with_old_key and age_of_key(agent, now) >= _oldest(state.settings):
            detail = "the device key is too old; the agent makes a new one"
            raise Problem(403, detail, slug="agent-key-expired")
        if not await spend_nonce(session, agent.id, verified.nonce, now=now):
            raise _stranger("this request was received before")
        touch(agent, now=now, version=version_of(request))
        yield Call(agent, body, session)


@asynccontextmanager
async def _in_turn(state: State) -> AsyncIterator[AsyncSession]:
    """Yield a transaction to few agents at once: a thousand that come together starve nobody."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await state.agents.acquire()
    except TimeoutError:
        raise Unavailable(CROWDED) from None
    try:
        async with transaction(state.sessions) as session:  # no failpoint: its agent's request has
            yield session
    finally:
        state.agents.release()


async def _signer_of(request: Request, session: AsyncSession) -> Agent:
    found = KEY_ID.search(request.headers.get("signature-input", ""))
    agent = await find_agent(session, found[1]) if found else None
    if agent is None:
        raise _stranger("the request is not signed by an agent that is known here")
    return agent


def _verified(request: Request, state: State, body: bytes, agent: Agent) -> Verified:
    def public_key(key_id: str) -> Ed25519PublicKey:
        if key_id != agent.id:
            raise Refused("the request names two keys")
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(agent.public_key))

    return signature_of(request, state, body, public_key)


def signature_of(request: Request, state: State, body: bytes, public_key: Any) -> Verified:
    """Return who signed the request, for this door and no other; or raise Problem 401."""
    scope = request.scope
    try:
        return verify(
            request.method,
            authority(state),
            scope.get("raw_path", request.url.path.encode()).decode("latin-1").partition("?")[0],
            scope["query_string"].decode("latin-1"),
            _headers(request),
            body,
            public_key_for=public_key,
            now=utc_now(),
        )
    except Refused as refusal:
        raise _stranger(str(refusal)) from refusal


def authority(state: State) -> str:
    """Return the door's authority as its address names it, whatever the Host header says."""
    return state.settings.door_url.removeprefix("https://").removesuffix(":443").lower()


def _headers(request: Request) -> dict[str, str]:
    """Return the headers; one that was sent twice has its lines joined, RFC 9110 5.2."""
    names = set(request.headers)
    return {name: ", ".join(request.headers.getlist(name)) for name in names}


async def check_standing(session: AsyncSession, agent: Agent | None) -> None:
    """Return if the agent may work, and its person too; else raise Problem 403."""
    if agent is None or agent.state == "revoked":
        raise Problem(403, "this agent was revoked; enrol it again", slug="agent-revoked")
    if agent.state != "confirmed":
        detail = "this agent is not confirmed yet: compare its six words in the portal and confirm"
        raise Problem(403, detail, slug="agent-not-confirmed")
    person = await find_person(session, agent.person_id)
    if person is None or not person.active:
        raise Problem(403, DISABLED, slug="agent-person-disabled")


def age_of_key(agent: Agent, now: datetime) -> timedelta:
    """Return for how long the workstation has had its device key."""
    return now - (agent.key_since or agent.enrolled_at)


def is_key_due(settings: Settings, agent: Agent, now: datetime) -> bool:
    """Tell whether the device key is near enough to its end to be changed."""
    return age_of_key(agent, now) >= _oldest(settings) * 5 / 6


def _oldest(settings: Settings) -> timedelta:
    return timedelta(days=settings.agent_key_days)


def version_of(request: Request) -> str:
    """Return the version that an agent says it has; empty when it says none."""
    found = PRODUCT.search(request.headers.get("user-agent", ""))
    return found[1] if found else ""


def is_too_old(settings: Settings, version: str) -> bool:
    """Tell whether an agent of this version gets no work; one that cannot be read is too old."""
    found = VERSION.match(version)
    least = settings.agent_oldest_version
    return found is None or _numbers(found[0]) < _numbers(least)


def check_version(settings: Settings, version: str) -> None:
    """Return if the agent is new enough to be trusted with cards, else raise Problem 426."""
    if not is_too_old(settings, version):
        return
    least = settings.agent_oldest_version
    where = settings.agent_download_url or "from whoever looks after this workstation"
    shown = version[:20] or "unknown"
    raise Problem(
        426,
        f"update the agent: it has version {shown}, {least} is the oldest; get it {where}",
        headers={"Upgrade": f"cardflow-agent/{least}"},
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _stranger(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Signature"})


def said(cls: type[T], body: bytes) -> T:
    """Return what the body says, read strictly; or raise Problem 422 with every reason."""
    try:
        told = parsed(body)
    except Refused:
        raise Problem(422, "the body is not JSON") from None
    try:
        return from_json(cls, told)
    except Refused as refusal:
        found = [FieldProblem(reason=reason) for reason in refusal.objections]
        raise Problem(422, str(refusal), *found) from None


def takes(cls: type) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route that reads a body with ``said``."""
    schema = _as_read(TypeAdapter(cls).json_schema(ref_template=REF))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _as_read(schema: Any) -> Any:
    """Return the schema with what ``from_json`` refuses besides, such as unknown fields."""
    if isinstance(schema, list):
        return [_as_read(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    read = {name: _as_read(one) for name, one in schema.items()}
    match read.get("type"):
        case "object":
            return {"additionalProperties": False} | read
        case "string" if not read.keys() & {"enum", "const", "format"}:
            return read | {"pattern": TEXT_PATTERN}
        case "integer":
            return {"minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER} | read
    return read
