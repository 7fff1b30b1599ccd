"""One installation for a file of tests: starting its parts is what costs."""

from collections.abc import AsyncIterator

import pytest

from cardflow.settings import Settings
from tests.ports import free_ports
from tests.reconcile.stage import House


def settings_of(state) -> Settings:
    """Return the settings of an installation in ``state`` on ports of its own."""
    temporal, ui, smtp = free_ports(3)
    return Settings(
        state_dir=state,
        temporal_address=f"127.0.0.1:{temporal}",
        temporal_ui_port=ui,
        smtp_port=smtp,
    )


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Yield an installation that runs."""
    house = House(settings_of(tmp_path_factory.mktemp("house")))
    await house.begin()
    yield house
    await house.end()
