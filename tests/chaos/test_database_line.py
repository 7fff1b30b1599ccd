"""A bad network between our processes and PostgreSQL; the world is that of the other lines."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.chaos.test_network_faults import (
    TO_DATABASE,
    chosen,
    every_disturbance,
    parameters,
    under_way,
)
from tests.chaos.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]
DATABASE = "postgresql"


@pytest.fixture(scope="module")
async def run(here: World, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """The chosen cases, under way."""
    async with under_way(here, chosen(request)) as tasks:
        yield tasks


@pytest.mark.parametrize("case", parameters(every_disturbance(TO_DATABASE)))
async def test_an_update_ends_as_if_the_database_had_been_near(run, case) -> None:
    await run[case.name]
