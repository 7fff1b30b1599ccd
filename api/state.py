"""What every route may ask for: one object, built when a process starts and closed when it ends.

Routes name what they need by the aliases at the end; nothing here is a global.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.keys import Keys, load_keys
from api.signing_in import Guesses
from cardflow import decisions
from cardflow.settings import Settings
from cardflow.sql import Sessions, create_engine, for_reading, sessions_of
from cardflow.temporal.client import connect


class TemporalLink:
    """Connects at the first question, so that the API starts without Temporal and says so."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self._settings = settings
        self._client = client
        self._lock = asyncio.Lock()

    async def client(self) -> Client:
        """Return the connected client, or raise Unavailable."""
        async with self._lock:
            if self._client is None:
                self._client = await connect(self._settings)
            return self._client


@dataclass(frozen=True)
class State:
    """Everything that is built once per process and shared by both doors."""

    settings: Settings
    engine: AsyncEngine
    sessions: Sessions
    reads: Sessions  # on SQLite these wait for no writer
    temporal: TemporalLink
    keys: Keys
    guesses: Guesses = field(default_factory=Guesses)


@asynccontextmanager
async def opened(settings: Settings, temporal: Client | None = None) -> AsyncIterator[State]:
    """Yield the state of a process; its connections are closed afterwards."""
    keys = load_keys(settings)
    engine = create_engine(settings.database_url)
    try:
        yield State(
            settings=settings,
            engine=engine,
            sessions=sessions_of(engine),
            reads=sessions_of(for_reading(engine)),
            temporal=TemporalLink(settings, temporal),
            keys=keys,
        )
    finally:
        await engine.dispose()


def state_of(connection: HTTPConnection) -> State:
    """Return the state of the process that serves this connection."""
    return cast("State", connection.app.state.cardflow)


Everything = Annotated[State, Depends(state_of)]


def _settings(state: Everything) -> Settings:
    return state.settings


def _sessions(state: Everything) -> Sessions:
    return state.sessions


async def _temporal(state: Everything) -> Client:
    return await state.temporal.client()


def _signer(state: Everything) -> decisions.Signer:
    return state.keys.signer


def _keys(state: Everything) -> Keys:
    return state.keys


AppSettings = Annotated[Settings, Depends(_settings)]
Database = Annotated[Sessions, Depends(_sessions)]
Temporal = Annotated[Client, Depends(_temporal)]
Signer = Annotated[decisions.Signer, Depends(_signer)]
AppKeys = Annotated[Keys, Depends(_keys)]
