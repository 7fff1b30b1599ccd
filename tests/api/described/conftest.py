"""Both doors as real servers on loopback, with everything behind them and somebody in each role."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

# The office of the API's tests: people, desk and card.
from tests.api.door.conftest import serving
from tests.api.updates.conftest import (  # noqa: F401
    app,
    catcher,
    door,
    let_in,
    office,
    settings,
)


@pytest.fixture(scope="session")
async def people_door(app: FastAPI) -> AsyncIterator[str]:  # noqa: F811
    """Yield the address of the people's door."""
    async with serving(app) as address:
        yield address


@pytest.fixture(scope="session")
async def agent_door(door: FastAPI) -> AsyncIterator[str]:  # noqa: F811
    """Yield the address of the agent door."""
    async with serving(door) as address:
        yield address
