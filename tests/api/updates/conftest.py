"""An office: both doors, the real worker, CA and Temporal, people who sign in, one card."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from sqlalchemy import update
from sqlmodel import col
from temporalio.testing import WorkflowEnvironment

from api.app import create_agent_app, create_app
from api.state import State, opened
from cardflow.db.tables import Card, Person, PolicyVersion
from cardflow.decisions import utc_now
from cardflow.jobs import IssuedForm, Job, JobResult, Outcome, SignJob, whole
from cardflow.model import CardState, Role, new_id
from cardflow.settings import Settings
from cardflow.sql import transaction
from cardflow.wire import from_json
from cli.up import prepare
from tests.activities.conftest import Catcher, running
from tests.api.conftest import SignIn
from tests.api.workstation import SoftCard, Workstation
from tests.databases import Databases
from tests.waiting import until
from worker import build_ca, build_worker

API = "/api/v1"


@pytest.fixture(scope="session")
async def catcher() -> AsyncIterator[Catcher]:
    """A mail relay that takes everything."""
    async with running(Catcher()) as catcher:
        yield catcher


@pytest.fixture(scope="session")
async def settings(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, catcher: Catcher
) -> Settings:
    """Return the settings of one installation for all tests; each brings its own people."""
    databases.furnish(directory := tmp_path_factory.mktemp("office"))
    settings = Settings(
        state_dir=directory,
        smtp_port=catcher.port,
        temporal_task_queue=f"cardflow-{new_id()}",
    )
    await prepare(settings)
    return settings


@pytest.fixture(scope="session")
async def app(settings: Settings, temporal_env: WorkflowEnvironment) -> AsyncIterator[FastAPI]:
    """Yield the people's door, running, with the real worker behind it."""
    app = create_app(settings, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app):
        engine = app.state.cardflow.engine
        ca = build_ca(settings, engine)
        await ca.maintain()  # as the worker's process does: there is a CRL
        async with build_worker(temporal_env.client, settings, engine, ca):
            yield app
        ca.close()


@pytest.fixture(scope="session")
async def door(app: FastAPI) -> AsyncIterator[FastAPI]:
    """Yield the agent door, running."""

    @asynccontextmanager
    async def shared(_settings: Settings) -> AsyncIterator[State]:
        yield app.state.cardflow

    agent_app = create_agent_app(app.state.cardflow.settings, shared)
    async with agent_app.router.lifespan_context(agent_app):
        yield agent_app


@dataclass
class Desk:
    """A workstation with a card in its reader, whose agent carries out every job."""

    workstation: Workstation
    card: SoftCard
    jobs: list[Job] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)  # of the next jobs, instead of doing them
    pin: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: nobody enters one yet
    sign: Any = None  # instead of the card's own way
    signed: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Somebody sits there who enters the PIN at once."""
        self.pin.set()

    async def run(self) -> None:
        """Take and answer jobs until cancelled, or turned away."""
        while (handed := await self.workstation.poll()).status_code != 403:
            if handed.status_code == 200:
                await self._carry_out(handed.json())

    async def _carry_out(self, handed: dict[str, str]) -> None:
        job = self.workstation.read(handed["job"])
        self.jobs.append(job)
        await self.pin.wait()
        if self.outcomes:
            result = JobResult(self.outcomes.pop(0), token_serial=self.card.token_serial)
        elif isinstance(job, SignJob):
            result = await self._sign(job, handed["task"])
        else:
            result = self.card.carry_out(job)
        await self.workstation.report(self.card.report())
        await self.workstation.answer(handed["task"], result)

    async def _sign(self, job: SignJob, task: str) -> JobResult:
        fetched = await self.workstation.fetch_form(task)
        form = from_json(IssuedForm, fetched.json())
        assert hashlib.sha256(whole(form.content)).hexdigest() == job.sha256
        signed = await (self.sign or self.card.sign)(form, job.signer.cka_id)
        self.signed.append(signed)
        answers = [await self.workstation.send_form(task, signed) for _ in range(2)]
        assert answers[0].status_code == answers[1].status_code, answers
        if answers[0].is_success:
            return JobResult(Outcome.DONE, token_serial=self.card.token_serial)
        detail = answers[0].json()["detail"]
        return JobResult(Outcome.DOCUMENT_REFUSED, detail, token_serial=self.card.token_serial)


@dataclass
class Office:
    """People by what they do, and short ways to do it."""

    app: FastAPI
    holder: httpx2.AsyncClient
    operator: httpx2.AsyncClient
    desk: Desk
    card_id: str
    waits: dict[str, Any] = field(default_factory=dict)  # how ``until`` is to wait, if not as ever

    @property
    def state(self) -> State:
        """The API's own state."""
        return self.app.state.cardflow

    async def policy(self, *profiles: str, **keys: Any) -> None:
        """Put the card under a new policy; a profile is 'name mode key=value ...'."""
        name = f"test-{new_id()}"
        text = policy_toml(name, profiles, keys)
        async with transaction(self.state.sessions) as session:
            session.add(PolicyVersion(name=name, version=1, document=text, created_at=utc_now()))
            card = await session.get_one(Card, self.card_id)
            card.policy_name = name

    async def plan(self, who: httpx2.AsyncClient | None = None, **chosen: Any) -> dict[str, Any]:
        """Return the plan."""
        path = f"{API}/cards/{self.card_id}/plan"
        answer = await (who or self.holder).get(path, params=chosen)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def open(
        self, who: httpx2.AsyncClient | None = None, *, key: str = "", **chosen: Any
    ) -> httpx2.Response:
        """Open an update as planned."""
        who = who or self.holder
        digest = (await self.plan(who, **chosen))["digest"]
        headers = {"Idempotency-Key": key} if key else {}
        path = f"{API}/cards/{self.card_id}/updates"
        return await who.post(path, json={**chosen, "plan_digest": digest}, headers=headers)

    async def opened(self, *args: Any, **chosen: Any) -> str:
        """Return the id of an update that was opened."""
        answer = await self.open(*args, **chosen)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def update(self, update_id: str, who: httpx2.AsyncClient | None = None) -> dict[str, Any]:
        """Return the update as somebody sees it."""
        answer = await (who or self.holder).get(f"{API}/updates/{update_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(
        self, update_id: str, reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return the first look at the update that satisfies the condition."""
        what = f"update {update_id}"
        return await until(lambda: self.update(update_id), reached, what=what, **self.waits)

    async def until_stage(self, update_id: str, stage: str) -> dict[str, Any]:
        """Return the update at the stage."""
        return await self.until(update_id, lambda seen: seen["stage"] == stage)

    async def until_lane(self, update_id: str, stage: str) -> dict[str, Any]:
        """Return the only lane, at the stage, with nobody at the workstation."""
        seen = await self.until(
            update_id, lambda x: x["lanes"][0]["stage"] == stage and x["visit"] is None
        )
        return seen["lanes"][0]

    async def form(self, update_id: str, lane: str, **query: str) -> httpx2.Response:
        """Print the form."""
        path = f"{API}/updates/{update_id}/lanes/{lane}/form"
        return await self.holder.get(path, params=query)

    async def upload(
        self,
        update_id: str,
        lane: str,
        content: bytes | None,
        *,
        who: httpx2.AsyncClient | None = None,
        key: str = "",
        name: str = "scan.pdf",
        **fields: str,
    ) -> httpx2.Response:
        """Hand a document in."""
        path = f"{API}/updates/{update_id}/lanes/{lane}/documents"
        parts: list[Any] = [(name, (None, value)) for name, value in fields.items()]
        if content is not None:
            parts.append(("file", (name, content, "application/octet-stream")))
        headers = {"Idempotency-Key": key} if key else {}
        return await (who or self.holder).post(path, files=parts, headers=headers)

    async def sign(self, update_id: str, lane: str) -> dict[str, Any]:
        """Print the form, and hand it in as it is: whoever checks it sees no signature."""
        printed = await self.form(update_id, lane)
        assert printed.status_code == 200, printed.text
        answer = await self.upload(update_id, lane, printed.content)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def decide(
        self,
        update_id: str,
        verdict: str,
        *,
        who: httpx2.AsyncClient | None = None,
        reason: str = "",
        digest: str = "",
        key: str = "",
    ) -> httpx2.Response:
        """Decide on the document of the only lane."""
        who = who or self.operator
        lane = (await self.update(update_id, who))["lanes"][0]
        body = {
            "verdict": verdict,
            "reason": reason,
            "digest": digest or lane["decision_digest"],
        }
        headers = {"Idempotency-Key": key} if key else {}
        path = f"{API}/updates/{update_id}/lanes/{lane['lane']}/decisions"
        return await who.post(path, json=body, headers=headers)

    async def act(
        self, update_id: str, what: str, who: Any = None, key: str = "", **body: Any
    ) -> httpx2.Response:
        """Continue, cancel or retry."""
        headers = {"Idempotency-Key": key} if key else {}
        path = f"{API}/updates/{update_id}/{what}"
        return await (who or self.holder).post(path, json=body, headers=headers)


def a_certificate(subject: str) -> str:
    """Return a certificate that somebody else issued, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now())
        .not_valid_after(utc_now() + timedelta(days=90))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def policy_toml(name: str, profiles: tuple[str, ...], keys: dict[str, Any]) -> str:
    """Return a policy's text."""
    permissions = keys.pop("permissions", {})
    lines = [f'name = "{name}"', 'title = "Test"', 'contact = "Ask the service desk."']
    lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    for profile in profiles:
        title, mode, *more = profile.split()
        lines += ["[[profiles]]", f'profile = "{title}"', f'mode = "{mode}"']
        lines += ['key_type = "P-256"', *more]
    lines += ["[permissions]", *(f"{key} = {_toml(value)}" for key, value in permissions.items())]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@dataclass
class Entrance:
    """Lets people in under logins of this test's own."""

    sign_in: SignIn
    test: str = field(default_factory=lambda: new_id()[-12:])

    async def __call__(self, name: str, *roles: Role, **changes: Any) -> httpx2.AsyncClient:
        """Return a client that is signed in as a new person of this name."""
        return await self.sign_in(f"{name}-{self.test}", *roles, name=name.title(), **changes)


@pytest.fixture
async def let_in(app: FastAPI, sign_in: SignIn) -> AsyncIterator[Entrance]:
    """Yield what registers a person and returns a client; afterwards these people have left.

    Else every later document would be announced to the operators of every earlier test.
    """
    entrance = Entrance(sign_in)
    yield entrance
    async with transaction(app.state.cardflow.sessions) as session:
        ours = col(Person.login).endswith(entrance.test)
        await session.execute(update(Person).where(ours).values(active=False))


@pytest.fixture
async def office(app: FastAPI, door: FastAPI, let_in: Entrance) -> AsyncIterator[Office]:
    """Yield an office whose holder has a card in the reader of an enrolled workstation."""
    holder = await let_in("holly", Role.HOLDER, upn="holly@example.org", organization="Example")
    operator = await let_in("olga", Role.OPERATOR)
    serial = new_id().replace("-", "")[-16:]
    card = Card(
        id=new_id(),
        token_serial=serial,
        token_label="Holly's card",
        holder_id=holder.headers["X-Person"],
        state=CardState.ASSIGNED,
        created_at=utc_now(),
    )
    async with transaction(app.state.cardflow.sessions) as session:
        session.add(card)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=door), base_url="https://localhost:8443", timeout=60
    ) as client:
        desk = Desk(await enrolled(client, holder), SoftCard(serial, "Holly's card"))
        await desk.workstation.report(desk.card.report())
        office = Office(app, holder, operator, desk, card.id)
        await office.policy("tls-client none")
        working = asyncio.create_task(desk.run())
        yield office
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def enrolled(client: httpx2.AsyncClient, person: httpx2.AsyncClient) -> Workstation:
    """Return a workstation that its person has enrolled and confirmed."""
    await enrol(workstation := Workstation(client), person)
    return workstation


async def enrol(workstation: Workstation, person: httpx2.AsyncClient) -> None:
    """The workstation is enrolled, and confirmed by its person."""
    await workstation.enrol((await person.post(f"{API}/agents/codes", json={})).json()["code"])
    (agent,) = (await person.get(f"{API}/agents")).json()["items"]
    path = f"{API}/agents/{agent['id']}/confirm"
    await person.post(path, json={"words": agent["words"]})
