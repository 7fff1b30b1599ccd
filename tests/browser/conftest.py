"""A real browser before the real application: worker, CA, Temporal and a software card behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import uvicorn
from axe_playwright_python.base import AXE_SCRIPT
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from api.auth import cookie_name

# The office of the API's tests: people, desk and card.
from tests.api.conftest import password_hash, register, sign_in  # noqa: F401
from tests.api.updates.conftest import (  # noqa: F401
    app,
    catcher,
    door,
    let_in,
    office,
    settings,
)

CHROMIUM = "/usr/bin/chromium-headless-shell"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
RULES = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
COLOURS = {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast"]}}
# Only what is wrong leaves the browser: all that axe knows of a page is megabytes.
RUN_AXE = """async (rules) => (await axe.run(document, rules)).violations.map((one) => [
  one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
async def origin(app: FastAPI) -> AsyncIterator[str]:  # noqa: F811
    """Yield where the pages are."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    yield f"http://localhost:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield Debian's Chromium, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@dataclass
class Seat:
    """A person before a browser, who also notices what a page does wrong."""

    origin: str
    context: BrowserContext
    page: Page
    wrong: list[str] = field(default_factory=list)  # console errors, foreign requests

    async def open(self, path: str) -> Page:
        """Go to a page."""
        await self.page.goto(self.origin + path)
        return self.page

    async def click(self, name: str, role: str = "button") -> None:
        """Press what has this name."""
        await self.page.get_by_role(role, name=name, exact=True).first.click()  # type: ignore[arg-type]

    async def sees(self, words: str) -> None:
        """Return once the words are on the page, by themselves: nobody presses F5."""
        await self.page.get_by_text(words).first.wait_for(timeout=30_000)

    async def violations(self) -> list[str]:
        """Return what axe finds against WCAG 2.2 AA, in light and in dark: there, of colours."""
        found = []
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE_SCRIPT)
        for scheme, rules in (("light", RULES), ("dark", COLOURS)):
            await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for id_, places in await self.page.evaluate(RUN_AXE, rules):
                found.append(f"{scheme} {self.page.url} {id_}: {places}")
        return found

    async def overflow(self) -> int:
        """Return by how many pixels the page is wider than a small phone."""
        await self.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        wide = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        await self.page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        return int(wide)


SitDown = Callable[..., Awaitable[Seat]]


@pytest.fixture
async def sit_down(
    browser: Browser,
    origin: str,
    settings: object,  # noqa: F811
) -> AsyncIterator[SitDown]:
    """Yield what puts a signed-in API client's person before a browser; None is a stranger."""
    seats: list[Seat] = []

    async def sit(who: httpx2.AsyncClient | None = None, **options: object) -> Seat:
        context = await browser.new_context(viewport=WIDE, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        if who is not None:
            token = who.headers["Authorization"].removeprefix("Bearer ")
            cookie = {"name": cookie_name(settings), "value": token, "url": origin}  # type: ignore[arg-type]
            await context.add_cookies([cookie])  # type: ignore[list-item]
        page = await context.new_page()
        seats.append(seat := Seat(origin, context, page))
        page.on("console", lambda message: _note(seat, message))
        page.on("pageerror", lambda error: seat.wrong.append(f"error: {error}"))
        page.on("request", lambda request: _foreign(seat, request.url))
        return seat

    yield sit
    for seat in seats:
        await seat.context.close()
    assert [wrong for seat in seats for wrong in seat.wrong] == []


def _note(seat: Seat, message: object) -> None:
    kind, text = message.type, message.text  # type: ignore[attr-defined]
    # The browser itself writes a line for each refusal that a test provokes.
    if kind in ("error", "warning") and "Failed to load resource" not in text:
        seat.wrong.append(f"{kind}: {text}")


def _foreign(seat: Seat, url: str) -> None:
    if not url.startswith((seat.origin, "data:", "blob:")):
        seat.wrong.append(f"foreign request: {url}")
