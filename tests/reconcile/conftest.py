"""Installations whose parts can be lost; starting them is what costs, so the first is shared."""

from collections.abc import AsyncIterator

import pytest

from cardflow.settings import Settings
from cli.ports import free_ports
from tests.databases import Databases
from tests.reconcile.stage import House


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
