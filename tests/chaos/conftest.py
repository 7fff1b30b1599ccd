"""The world of a file of cases: started once, shared by all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.matrix import Fault, Run
from tests.chaos.world import World, world

DESKS = 4


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Yield the world, everything running."""
    directory: Path = tmp_path_factory.mktemp("world")
    async with world(directory, desks=DESKS) as here:
        yield here


@pytest.fixture(scope="module")
async def run(here: World, request: pytest.FixtureRequest) -> AsyncIterator[Run]:
    """Yield the file's chosen cases, under way."""
    chosen: list[Fault] = [
        item.callspec.params["fault"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item, "callspec")
        and "fault" in item.callspec.params
    ]
    under_way = Run(here, chosen)
    yield under_way
    await under_way.end()
