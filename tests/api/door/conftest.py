"""The agent door as a real server on loopback, beside the people's door, over one database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from sqlmodel import SQLModel
from temporalio.testing import WorkflowEnvironment

from api.app import create_agent_app, create_app
from api.state import State, opened
from cardflow.model import Role
from cardflow.settings import Settings
from tests.api.conftest import SignIn
from tests.api.workstation import Workstation

Enrol = Callable[..., Awaitable[Workstation]]


@pytest.fixture
async def app(settings: Settings, temporal_env: WorkflowEnvironment) -> AsyncIterator[FastAPI]:
    """Yield the people's door, running, with a real Temporal server behind it."""
    app = create_app(settings, lambda given: opened(given, temporal_env.client))
    async with app.router.lifespan_context(app):
        async with app.state.cardflow.engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
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


@pytest.fixture
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
async def holder(sign_in: SignIn) -> httpx2.AsyncClient:
    """Return a holder who is signed in."""
    return await sign_in("holly", Role.HOLDER)


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
