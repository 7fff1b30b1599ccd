"""One CA is made per session; every test gets a copy of it, database included."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from cardflow.ca.embedded import EmbeddedCA
from tests.ca.making import Home
from tests.databases import Databases


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a CA that was only just made: no CRL, no OCSP signer, no database."""
    return Home(tmp_path_factory.mktemp("made")).make()


@pytest.fixture(scope="session")
async def maintained(
    made: Home, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """Return a CA that the worker has maintained once, with its database."""
    home = Home(shutil.copytree(made.path, tmp_path_factory.mktemp("maintained") / "home"))
    databases.furnish(home.path, migrated=False)
    engine = await home.engine()
    ca = home.ca(engine)
    await ca.maintain()
    ca.close()
    await engine.dispose()
    return home


@pytest.fixture
def home(maintained: Home, databases: Databases, tmp_path: Path) -> Home:
    """Return a maintained CA of the test's own."""
    databases.copy_installation(maintained.path, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
async def engine(home: Home) -> AsyncIterator[AsyncEngine]:
    """Yield the engine of the test's CA."""
    engine = await home.engine()
    yield engine
    await engine.dispose()


@pytest.fixture
async def ca(home: Home, engine: AsyncEngine) -> AsyncIterator[EmbeddedCA]:
    """Yield the CA as the worker opens it."""
    ca = home.ca(engine)
    yield ca
    ca.close()


@pytest.fixture
async def desk(home: Home, engine: AsyncEngine) -> AsyncIterator[EmbeddedCA]:
    """Yield the same CA as the API opens it: without the issuing key."""
    ca = home.ca(engine, signs=False)
    yield ca
    ca.close()
