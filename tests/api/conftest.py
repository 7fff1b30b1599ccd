"""The people's door over a real database, and people who sign in by its front."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from sqlmodel import SQLModel

from api.app import create_app
from api.state import State
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.passwords import hash_password
from cardflow.settings import Settings
from cardflow.sql import transaction
from tests.api.installation import make_settings

PASSWORD = "correct horse battery"
ORIGIN = "http://localhost:8000"


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Return the kept form of everybody's password, made once: it is slow by design."""
    return hash_password(PASSWORD)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a fresh installation."""
    return make_settings(tmp_path)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield the people's door, running."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        state: State = app.state.cardflow
        async with state.engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        yield app


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client that is not signed in."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
def register(app: FastAPI, password_hash: str) -> Callable[..., Awaitable[Person]]:
    """Return what registers a person with roles and everybody's password."""

    async def add(login: str, *roles: Role, **changes: object) -> Person:
        person = Person(
            id=new_id(),
            login=login,
            name=login.title(),
            roles=list(roles or [Role.HOLDER]),
            password_hash=password_hash,
            created_at=utc_now(),
            **changes,
        )
        async with transaction(app.state.cardflow.sessions) as session:
            session.add(person)
        return person

    return add


SignIn = Callable[..., Awaitable[httpx2.AsyncClient]]


@pytest.fixture
async def sign_in(
    app: FastAPI, register: Callable[..., Awaitable[Person]]
) -> AsyncIterator[SignIn]:
    """Yield what registers a person and returns a client that is signed in as them."""
    clients: list[httpx2.AsyncClient] = []

    async def enter(login: str, *roles: Role) -> httpx2.AsyncClient:
        person = await register(login, *roles)
        client = client_of(app)
        clients.append(client)
        answer = await client.post("/api/v1/session", json={"login": login, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        client.headers["X-Person"] = person.id
        return client

    yield enter
    for client in clients:
        await client.aclose()


def client_of(app: FastAPI, **options: object) -> httpx2.AsyncClient:
    """Return a client that speaks to the application without a network."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, **options)
