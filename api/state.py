"""What every route may ask for: one object, built when a process starts and closed when it ends.

Routes name what they need by the aliases at the end; nothing here is a global. What hands it out is
coroutines, for FastAPI runs a function in a thread of its own.
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

from api.background import Background
from api.counted_store import CountedStore
from api.keys import Keys, load_keys
from api.links import AuthorityLink, TemporalLink, embedded_ca
from api.provider import Provider, provider_of
from api.pulse import Pulse
from api.readings import Readings
from api.signing_in import Guesses
from cardflow import decisions
from cardflow.ca.embedded.authority import EmbeddedCA
from cardflow.documents.store import DocumentStore
from cardflow.model import Profile
from cardflow.profiles import load_profiles
from cardflow.settings import Settings
from cardflow.sql import Sessions, create_engine, for_reading, sessions_of
from cardflow.stores import store_of

AGENTS_AT_ONCE = 4  # with the database; its pool has 15 connections


@dataclass(frozen=True)
class State:
    """Everything that is built once per process and shared by both doors."""

    settings: Settings
    keys: Keys
    profiles: dict[str, Profile]
    engine: AsyncEngine
    sessions: Sessions
    reads: Sessions  # on SQLite these wait for no writer
    store: DocumentStore
    temporal: TemporalLink
    ca: AuthorityLink
    provider: Provider | None  # of OpenID, if people sign in there
    guesses: Guesses = field(default_factory=Guesses)
    readings: Readings = field(default_factory=Readings)
    background: Background = field(default_factory=Background)
    agents: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AGENTS_AT_ONCE))
    pulse: Pulse = field(default_factory=Pulse)
    # Set when the process is told to end: whoever waits here goes elsewhere.
    ending: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def opened(settings: Settings, temporal: Client | None = None) -> AsyncIterator[State]:
    """Yield the state of a process; its connections are closed afterwards."""
    keys, profiles = load_keys(settings), load_profiles(settings.profiles_file)
    engine = create_engine(settings.database_url, serves=True)
    ca = embedded_ca(settings, engine, profiles, keys.decision_root)
    provider = provider_of(settings)
    background = Background()
    try:
        yield State(
            settings=settings,
            keys=keys,
            profiles=profiles,
            engine=engine,
            sessions=sessions_of(engine),
            reads=sessions_of(for_reading(engine)),
            store=CountedStore(store_of(settings)),
            temporal=TemporalLink(settings, temporal),
            ca=ca,
            provider=provider,
            background=background,
        )
    finally:
        await background.close()
        ca.close()
        if provider:
            await provider.close()
        await engine.dispose()


def state_of(connection: HTTPConnection) -> State:
    """Return the state of the process that serves this connection."""
    return cast("State", connection.app.state.cardflow)


async def _everything(connection: HTTPConnection) -> State:
    return state_of(connection)


Everything = Annotated[State, Depends(_everything)]


async def _settings(state: Everything) -> Settings:
    return state.settings


async def _sessions(state: Everything) -> Sessions:
    return state.sessions


async def _temporal(state: Everything) -> Client:
    return await state.temporal.client()


async def _store(state: Everything) -> DocumentStore:
    return state.store


async def _authority(state: Everything) -> EmbeddedCA:
    return state.ca.authority()


async def _signer(state: Everything) -> decisions.Signer:
    return state.keys.signer


async def _keys(state: Everything) -> Keys:
    return state.keys


AppSettings = Annotated[Settings, Depends(_settings)]
Database = Annotated[Sessions, Depends(_sessions)]
Temporal = Annotated[Client, Depends(_temporal)]
Store = Annotated[DocumentStore, Depends(_store)]
Authority = Annotated[EmbeddedCA, Depends(_authority)]
Signer = Annotated[decisions.Signer, Depends(_signer)]
AppKeys = Annotated[Keys, Depends(_keys)]
