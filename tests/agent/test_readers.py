"""What the readers show follows what visits do to the cards in them."""

import asyncio

import pytest

from agent.readers import Readers
from agent.settings import ModuleSetting
from tests.agent.desk import SOFTHSM

pytestmark = pytest.mark.softhsm


@pytest.fixture
async def readers(desk):
    watched = Readers([ModuleSetting("softhsm", SOFTHSM)])
    await watched.look(thorough=True)
    yield watched
    await watched.close()


async def test_a_look_that_waited_for_a_visit_sees_what_the_visit_changed(desk, readers):
    def keys_seen():
        (token,) = readers.tokens
        return len(token.inventory.keys)

    async with readers.at_work():
        looking = asyncio.ensure_future(readers.look(thorough=False))
        await asyncio.sleep(0)  # it stands in line now
        desk.tool("--keypairgen", "--key-type", "EC:prime256v1", "--id", "ab12")
        assert keys_seen() == 0
    await looking

    assert keys_seen() > 0
