"""The agent door as a real server on loopback, beside the people's door, over one database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from temporalio.testing import WorkflowEnvironment

from api.app import create_agent_app, create_app
from api.state import State, opened
from cardflow.model import Role, new_id
from cardflow.settings import Settings
from tests.api.conftest import SignIn
from tests.api.workstation import Workstation
from tests.databases import Databases

Enrol = Callable[..., Awaitable[Workstation]]


@pytest.fixture(scope="session")
def settings(fresh_installation: Path, databases: Databases) -> Settings:
    """Return the settings of one installation for all tests; each brings its own people."""
    directory = fresh_installation.with_name("door")
    databases.copy_installation(fresh_installation, directory)
    return Settings(state_dir=directory)


@pytest.fixture(scope="session")
async def app(settings: Settings, temporal_env: WorkflowEnvironment) -> AsyncIterator[FastAPI]:
    """Yield the people's door, running, with a real Temporal server behind it."""
    app = create_app(settings, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Yield the address of the application, served on loopback."""
    config = uvicorn.Config(
        app, port=0, log_level="error", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 uvicorn offers no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@pytest.fixture(scope="session")
async def door(app: FastAPI) -> AsyncIterator[str]:
    """Yield the address of the agent door."""

    @asynccontextmanager
    async def shared(_settings: Settings) -> AsyncIterator[State]:
        yield app.state.cardflow

    async with serving(create_agent_app(app.state.cardflow.settings, shared)) as address:
        yield address


@pytest.fixture
async def enter(door: str) -> AsyncIterator[Callable[[], Workstation]]:
    """Yield what makes a workstation that nobody knows yet."""
    clients: list[httpx2.AsyncClient] = []

    def make() -> Workstation:
        client = httpx2.AsyncClient(base_url=door, timeout=60)
        clients.append(client)
        return Workstation(client)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def let_in(sign_in: SignIn) -> SignIn:
    """Return what lets people in under logins of this test's own."""

    async def enter(name: str, *roles: Role) -> httpx2.AsyncClient:
        return await sign_in(f"{name}-{new_id()}", *roles)

    return enter


@pytest.fixture
async def holder(let_in: SignIn) -> httpx2.AsyncClient:
    """Return a holder who is signed in."""
    return await let_in("holly", Role.HOLDER)


@pytest.fixture
def enrol(enter: Callable[[], Workstation]) -> Enrol:
    """Return what makes a workstation that its person has enrolled and confirmed."""

    async def make(person: httpx2.AsyncClient) -> Workstation:
        code = (await person.post("/api/v1/agents/codes", json={})).json()["code"]
        workstation = enter()
        await workstation.enrol(code)
        mine = (await person.get("/api/v1/agents")).json()["items"]
        words = next(x["words"] for x in mine if x["id"] == workstation.agent_id)
        path = f"/api/v1/agents/{workstation.agent_id}/confirm"
        answer = await person.post(path, json={"words": words})
        assert answer.status_code == 200, answer.text
        return workstation

    return make
