"""Installations whose parts can be lost; starting them is what costs, so the first is shared."""

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from cardflow.model import new_id
from cardflow.settings import Settings
from cli.ports import free_ports
from tests.activities.conftest import Catcher, running
from tests.databases import Databases
from tests.reconcile.stage import House, Lodger


def settings_of(state, **more) -> Settings:
    """Return the settings of an installation in ``state`` on ports of its own."""
    temporal, ui, smtp, metrics = free_ports(4)
    return Settings(
        state_dir=state,
        temporal_address=f"127.0.0.1:{temporal}",
        temporal_ui_port=ui,
        smtp_port=smtp,
        worker_metrics_port=metrics,
        **more,
    )


@pytest.fixture(scope="session")
async def house(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> AsyncIterator[House]:
    """Yield an installation that runs; a test leaves it running, and no update open."""
    databases.furnish(directory := tmp_path_factory.mktemp("house"))
    house = House(settings_of(directory))
    await house.begin()
    yield house
    await house.end()


@pytest.fixture(scope="session")
async def lodger(
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    temporal_env: WorkflowEnvironment,
) -> AsyncIterator[Lodger]:
    """Yield an installation that runs on the server of all tests; a test leaves no update open."""
    databases.furnish(directory := tmp_path_factory.mktemp("lodger"))
    async with running(Catcher()) as catcher:
        settings = Settings(
            state_dir=directory,
            temporal_address=temporal_env.client.service_client.config.target_host,
            temporal_namespace=f"lodger-{new_id()}",
            smtp_port=catcher.port,
        )
        lodger = Lodger(settings, catcher)
        await lodger.begin()
        yield lodger
        await lodger.end()


@pytest.fixture
async def house_on_postgresql(tmp_path, on_server: Databases) -> AsyncIterator[House]:
    """Yield an installation of its own with PostgreSQL."""
    house = House(settings_of(tmp_path / "state", database_url=on_server.empty(tmp_path)))
    await house.begin()
    yield house
    await house.end()


@pytest.fixture(
    params=[
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        pytest.param("postgresql", marks=pytest.mark.slow),
    ]
)
def either_house(request: pytest.FixtureRequest) -> House:
    """Return an installation with one of the two databases."""
    is_sqlite = request.param == "sqlite"
    return request.getfixturevalue("house" if is_sqlite else "house_on_postgresql")
