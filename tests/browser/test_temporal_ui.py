"""Temporal's own pages in a real browser: decoded for who may read them, and for nobody else."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, Page

from api.app import create_app
from api.codec import PATH
from cardflow.db.register_trail import Wanted, list_entries
from cardflow.model import Role
from cardflow.settings import Settings
from cardflow.sql import transaction
from cardflow.temporal.client import connect
from cardflow.temporal.devserver import is_ready, server_command
from cli.ports import free_ports
from tests.api.conftest import PASSWORD, Register, fresh_installation  # noqa: F401
from tests.browser.conftest import WIDE
from tests.databases import Databases
from tests.waiting import until

pytestmark = [pytest.mark.temporal, pytest.mark.slow]
CANARY = "Rosalind Canary-Quill"
NOT_DECODED = "Codec Server could not connect"


@pytest.fixture
def settings(
    fresh_installation: Path,  # noqa: F811
    databases: Databases,
    tmp_path: Path,
) -> Settings:
    """Return the settings of an installation of this test's own, with Temporal's pages."""
    databases.copy_installation(fresh_installation, tmp_path / "state")
    api, temporal, ui = free_ports(3)
    return Settings(
        state_dir=tmp_path / "state",
        public_url=f"http://localhost:{api}",
        api_port=api,
        temporal_address=f"127.0.0.1:{temporal}",
        temporal_ui_port=ui,
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield the people's door, served at its address."""
    app = create_app(settings)
    listener = socket.create_server((settings.api_host, settings.api_port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listener]))
    await until(lambda: server.started, what="the people's door")
    yield app
    server.should_exit = True
    await serving


@pytest.fixture
async def history(settings: Settings, tmp_path: Path) -> AsyncIterator[str]:
    """Yield where the pages of `cardflow up`'s Temporal show a workflow with a personal input."""
    command = server_command(settings, tmp_path / "temporal.db")
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: is_ready(settings), what="a server that is ready")
        client = await connect(settings)
        person = {"holder_name": CANARY}
        handle = await client.start_workflow("CardUpdate", person, id="one", task_queue="nobody")
        run = handle.result_run_id
        yield f"{settings.temporal_ui_url}/namespaces/cardflow/workflows/one/{run}/history"
    finally:
        server.terminate()
        await server.wait()


async def sign_in(page: Page, settings: Settings) -> None:
    """The person is signed in by the front, as everybody is."""
    await page.goto(f"{settings.public_url}/sign-in")
    await page.get_by_label("Login").fill("somebody")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda url: "sign-in" not in url)


async def take_cookies_along(page: Page, settings: Settings) -> None:
    """The browser is told, once, to show our cookie to the codec endpoint (docs/temporal.md)."""
    await page.locator("[data-testid^=data-encoder-status]").first.click()
    await page.get_by_text("Use my browser setting").click()
    endpoint = page.get_by_label("Codec Server browser endpoint")
    await endpoint.fill(f"{settings.public_url}/codec")
    await page.get_by_text("Include cross-origin credentials").click()
    await page.get_by_role("button", name="Apply").click()
    await page.reload()


async def answers(page: Page) -> list[int]:
    """Return how the endpoint answered, as it is asked from now on."""
    found: list[int] = []
    page.on("response", lambda it: found.append(it.status) if PATH in it.url else None)
    return found


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Yield an empty page of a browser that knows nobody."""
    context = await browser.new_context(viewport=WIDE)
    yield await context.new_page()
    await context.close()


async def test_an_administrator_reads_what_was_stored(
    page: Page, app: FastAPI, settings: Settings, history: str, register: Register
) -> None:
    admin = await register("somebody", Role.ADMIN)
    await sign_in(page, settings)
    await page.goto(history)
    await take_cookies_along(page, settings)

    await page.get_by_test_id("input-and-result").get_by_text(CANARY).wait_for()

    async with transaction(app.state.cardflow.reads) as session:
        entries = await list_entries(session, Wanted(kind="histories_read"), after=0, limit=9)
    assert [entry.actor for entry in entries] == [admin.id]


async def test_nobody_else_does_and_the_pages_say_that_they_could_not(
    page: Page, app: FastAPI, settings: Settings, history: str, register: Register
) -> None:
    await register("somebody", Role.OPERATOR)
    told = await answers(page)
    await page.goto(history)
    await page.get_by_text(NOT_DECODED).filter(visible=True).first.wait_for()
    await sign_in(page, settings)
    await page.goto(history)
    await take_cookies_along(page, settings)
    await page.get_by_text(NOT_DECODED).filter(visible=True).first.wait_for()
    await until(lambda: 403 in told, what="an answer to who is signed in")

    assert told[0] == 401
    assert set(told) == {401, 403}
    assert CANARY not in await page.content()
