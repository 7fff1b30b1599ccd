"""One world for every row of the table."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from cardflow.settings import Settings
from tests.api.conftest import NOBODY, ORIGIN
from tests.api.permissions.world import World, a_world
from tests.databases import Databases


@pytest.fixture(scope="module")
async def world(
    fresh_installation: Path,
    databases: Databases,
    shared_door: tuple[FastAPI, list[Settings]],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """Yield a running door with everybody registered."""
    directory = tmp_path_factory.mktemp("permissions") / "state"
    databases.copy_installation(fresh_installation, directory)
    app, given = shared_door
    given[:] = [Settings(state_dir=directory, temporal_address=NOBODY)]
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield await a_world(app, client)
