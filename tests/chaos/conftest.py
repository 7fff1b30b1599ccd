"""The world of a file of cases: started once, shared by all of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.chaos.database import postgresql
from tests.chaos.matrix import Fault, Run
from tests.chaos.world import World, world
from tests.databases import Databases

DESKS = 4


@pytest.fixture(scope="module")
async def here(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    databases: Databases,
) -> AsyncIterator[World]:
    """Yield the world, everything running; its database is of the run's kind or of the file's."""
    directory: Path = tmp_path_factory.mktemp("world")
    async with AsyncExitStack() as stack:
        url, process = databases.empty(directory), None
        if getattr(request.module, "DATABASE", "") == "postgresql":
            url, process = await stack.enter_async_context(postgresql())
        desks = min(DESKS, len(_items(request)))
        here = await stack.enter_async_context(world(directory, desks=desks, database_url=url))
        if process:
            here.processes[process.name] = process
        yield here


@pytest.fixture(scope="module")
async def run(here: World, request: pytest.FixtureRequest) -> AsyncIterator[Run]:
    """Yield the file's chosen cases, under way."""
    chosen: list[Fault] = [item.callspec.params["fault"] for item in _items(request)]
    under_way = Run(here, chosen)
    yield under_way
    await under_way.end()


def _items(request: pytest.FixtureRequest) -> list[pytest.Function]:
    """Return the file's cases of this run."""
    of_file = (item for item in request.session.items if isinstance(item, pytest.Function))
    return [item for item in of_file if item.module is request.module]
