"""The people's door over a real database, and people who sign in by its front."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_agent_app, create_app
from api.auth import SESSION_PREFIX, new_token, token_digest
from api.state import opened
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import Role, new_id
from cardflow.passwords import hash_password
from cardflow.settings import Settings
from cardflow.sql import transaction
from cli.local_secrets import make_local_secrets
from tests.databases import Databases

PASSWORD = "correct horse battery"
ORIGIN = "http://localhost:8000"
NOBODY = "127.0.0.1:1"  # a port of the system's, on which nobody listens


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Return the kept form of everybody's password, made once: it is slow by design."""
    return hash_password(PASSWORD)


@pytest.fixture(scope="session")
def fresh_installation(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Path:
    """Return a directory with secrets and an empty database, to be copied by each test."""
    directory = tmp_path_factory.mktemp("installation")
    make_local_secrets(Settings(state_dir=directory))
    databases.furnish(directory)
    return directory


@pytest.fixture
def settings(fresh_installation: Path, databases: Databases, tmp_path: Path) -> Settings:
    """Return the settings of a fresh installation."""
    directory = tmp_path / "state"
    databases.copy_installation(fresh_installation, directory)
    return Settings(state_dir=directory, temporal_address=NOBODY)


@pytest.fixture(scope="session")
def shared_door() -> tuple[FastAPI, list[Settings]]:
    """Return one application for all tests, and where it finds the settings of the one that runs.

    Making its routes takes longer than most tests; its state is opened anew by each.
    """
    given: list[Settings] = []
    return create_app(Settings(), lambda _own: opened(given[-1])), given


@pytest.fixture
async def app(
    settings: Settings, shared_door: tuple[FastAPI, list[Settings]]
) -> AsyncIterator[FastAPI]:
    """Yield the people's door, running."""
    app, given = shared_door
    given[:] = [settings]
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client that is not signed in."""
    async with client_of(app) as client:
        yield client


Register = Callable[..., Awaitable[Person]]


@pytest.fixture
def register(app: FastAPI, password_hash: str) -> Register:
    """Return what registers a person with roles and everybody's password."""

    async def add(login: str, *roles: Role, **changes: object) -> Person:
        given = {
            "id": new_id(),
            "login": login,
            "name": login.title(),
            "email": f"{login}@example.org",
            "roles": list(roles or [Role.HOLDER]),
            "password_hash": password_hash,
            "created_at": utc_now(),
        }
        person = Person(**{**given, **changes})
        async with transaction(app.state.cardflow.sessions) as session:
            session.add(person)
        return person

    return add


SignIn = Callable[..., Awaitable[httpx2.AsyncClient]]


@pytest.fixture
async def sign_in(app: FastAPI, register: Register) -> AsyncIterator[SignIn]:
    """Yield what registers a person and returns a client that is signed in as them.

    The sign-in is put where signing in would put it: a password's check is slow by design.
    """
    clients: list[httpx2.AsyncClient] = []

    async def enter(login: str, *roles: Role, **changes: object) -> httpx2.AsyncClient:
        person = await register(login, *roles, **changes)
        token, now = new_token(SESSION_PREFIX), utc_now()
        async with transaction(app.state.cardflow.sessions) as session:
            await open_session(
                session, person.id, token_digest(token), now=now, until=now + timedelta(hours=12)
            )
        headers = {"Authorization": f"Bearer {token}", "X-Person": person.id}
        clients.append(client_of(app, headers=headers))
        return clients[-1]

    yield enter
    for client in clients:
        await client.aclose()


def client_of(app: FastAPI, **options: object) -> httpx2.AsyncClient:
    """Return a client that speaks to the application without a network."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    hooks = {"response": [told_in_the_description_of(app)]}
    return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, event_hooks=hooks, **options)


def told_in_the_description_of(app: FastAPI) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook that fails a test when an answer is one that OpenAPI does not tell of."""

    async def check(answer: httpx2.Response) -> None:
        request = answer.request
        for pattern, item in operations_of(app.title):
            if pattern.fullmatch(request.url.path) and request.method.lower() in item:
                told = item[request.method.lower()]["responses"]
                assert str(answer.status_code) in told, (request.method, answer.status_code)
                return

    return check


@cache
def operations_of(title: str) -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Return what is told of each address of a door; made once, for it takes a while."""
    doors = {app.title: app for app in (create_app(Settings()), create_agent_app(Settings()))}
    return [
        (re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), item)
        for path, item in doors[title].openapi()["paths"].items()
    ]


def reasons(answer: httpx2.Response) -> list[str]:
    """Return the reasons of a problem document, which this must be."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    return [error["reason"] for error in document["errors"]] or [document["detail"]]
