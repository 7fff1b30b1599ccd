"""A page in the browser of a workstation tries to reach the agent that runs beside it.

Every probe is first tried on a planted listener, which it must reach: so that it would reach the
agent as well, if there were anything to be reached.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.agent.conftest import desk  # noqa: F401 a fixture
from tests.agent.sockets import family_of, sockets_of
from tests.agent.test_agent_process import door, running, state  # noqa: F401 fixtures
from tests.browser.conftest import FLAGS
from tests.waiting import until

pytestmark = [pytest.mark.softhsm, pytest.mark.slow]  # the whole browser starts
CHROMIUM = "/usr/bin/chromium"
SOMEBODYS = "http://localhost:1/"  # answered by the test itself; a context that may do most
SCRIPT = Path(__file__).with_name("probes.js")
# No network traffic comes of these in the browser as it is shipped; they are tried all the same.
REACH_NO_LISTENER = {"a scheme of the agent's", "a scheme for the web"}


class Planted:
    """Listens on one port of every loopback address, and counts who comes."""

    def __init__(self) -> None:
        self.port = 0
        self.came = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count, and hang up."""
        self.came += 1
        writer.close()

    def datagram_received(self, data: bytes, sender: object) -> None:
        """Count."""
        self.came += 1

    def connection_made(self, transport: object) -> None:
        """Say nothing."""

    def connection_lost(self, error: Exception | None) -> None:
        """Say nothing."""


@asynccontextmanager
async def planted() -> AsyncIterator[Planted]:
    listener, loop = Planted(), asyncio.get_running_loop()
    with socket.create_server(("0.0.0.0", 0)) as v4:  # noqa: S104 127.0.0.2 too; for the test alone
        listener.port = v4.getsockname()[1]
        servers = [await asyncio.start_server(listener.connected, sock=v4)]
        servers.append(await asyncio.start_server(listener.connected, "::1", listener.port))
        transport, _ = await loop.create_datagram_endpoint(
            lambda: listener, local_addr=("127.0.0.1", listener.port)
        )
        yield listener
        transport.close()
        for server in servers:
            server.close()


@pytest.fixture
async def page():
    """A page of somebody's, with the probes in it, in all of Chromium: its shell has no QUIC."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield await _page_of(await browser.new_context())
        await browser.close()


async def _page_of(context):
    await context.route(
        SOMEBODYS, lambda route: route.fulfill(body="<p>", content_type="text/html")
    )
    page = await context.new_page()
    await page.goto(SOMEBODYS)
    await page.evaluate(SCRIPT.read_text())
    return page


async def names_of(page) -> list[str]:
    return await page.evaluate("Object.keys(probes)")


async def probe(page, name: str, port: int) -> None:
    said = [name, f"127.0.0.1:{port}", name.replace(" ", "-")]
    await page.evaluate("([name, at, path]) => { probes[name](at, path); }", said)


async def test_forty_probes_of_a_page_reach_a_listener_and_nothing_of_the_agent(
    page,
    desk,  # noqa: F811
    door,  # noqa: F811
    state,  # noqa: F811
):
    names = await names_of(page)
    assert len(names) >= 40 + len(REACH_NO_LISTENER)
    async with planted() as listener:
        for name in names:
            before = listener.came
            await probe(page, name, listener.port)
            if name not in REACH_NO_LISTENER:
                await until(lambda n=before: listener.came > n, what=f"a hit by {name!r}")
        assert any(one.port == listener.port for one in sockets_of(os.getpid()) if one.listens)

    async with running(state) as process:
        await door.until_reported(lambda tokens: len(tokens) == 1)
        desk.person.types("!hang")
        door.offer(desk.prepare_job())
        await until(lambda: "GETPIN" in desk.person.saw(), what="a prompt for the PIN")
        family = family_of(process.pid)
        held = {one for pid in family for one in sockets_of(pid)}
        ports = {one.port for one in held if one.port}
        assert ports, "the agent holds connections of its own, to its server"
        for name in names:
            for port in ports:
                await probe(page, name, port)
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while all(is_the_agents_own(one, door.port) for one in held):
                    held = {one for pid in family for one in sockets_of(pid)}
                    await asyncio.sleep(0.02)

    assert [one for one in held if not is_the_agents_own(one, door.port)] == []


def is_the_agents_own(one, door_port: int) -> bool:
    """Tell whether the socket is a connection out to the server, or a private line to a child."""
    if one.table == "unix":
        return not one.listens
    return not one.listens and one.remote_port in (door_port, 0)
