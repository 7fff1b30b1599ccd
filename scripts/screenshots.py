"""Makes the pictures of README and docs/user: the demo's stage, real processes, a real browser.

usage: python scripts/screenshots.py [--review DIR]

Pictures go to docs/user, as a person sees the page at a desk. With --review every page is also
pictured in dark, in German and on a phone, for somebody to look at.
"""

import argparse
import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import sqlalchemy
from PIL import Image
from playwright.async_api import Browser, BrowserContext, async_playwright
from rich.console import Console

from cardflow.db.tables import Session
from cardflow.decisions import utc_now
from cardflow.model import LaneStage, Stage, Verdict
from cardflow.sql import create_engine
from cardflow.temporal.ending import run_and_exit
from cli.demo_people import ADMIN, AUDITOR, HOLDER, OFFICERS, OPERATOR, Cast
from cli.demo_setup import Scene, beside, card_of, put_rules_in_force, set_stage, start_agent
from cli.demo_setup import started as running
from cli.demo_state import fresh
from cli.demo_steps import Turns, UpdateRun
from cli.demo_story import Story
from cli.processes import ROOT

CHROMIUM = "/usr/bin/chromium-headless-shell"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
PICTURES = ROOT / "docs" / "user"
DESK, PHONE = {"width": 1180, "height": 760}, {"width": 360, "height": 740}
TALLEST = 1_500  # pixels; what follows on a page can be looked at there
LANE, OPTIONAL = "smart-card-logon", "document-signing"
HOLD = """\
#!/bin/sh
# Holds the PIN prompt while its picture is taken.
while [ -e '{hold}' ]; do sleep 0.1; done
exec '{real}'
"""
NEXT_MONTH = (  # what the next version of the policy says otherwise
    ("Staff card: logon and e-mail, with both forms", "Staff card, from next month"),
    ("reminder_hours = 48 ", "reminder_hours = 24 "),
    ("mandatory = false", "mandatory = true"),
)


@dataclass
class Studio:
    """A browser per person, and where their pictures go."""

    scene: Scene
    browser: Browser
    review: Path | None
    contexts: dict[str, BrowserContext] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Where the portal is."""
        return self.scene.state.settings.public_url

    async def take(self, who: str, path: str, name: str, *, press: str = "") -> None:
        """Leave the picture of a page as this person sees it, once they have pressed a button."""
        page = await (await self._context(who)).new_page()
        await page.set_viewport_size(DESK)  # type: ignore[arg-type]
        await page.goto(self.origin + path)
        if press:
            await page.get_by_role("button", name=press).click()
            await page.wait_for_load_state()
        # Pictures further down are not even loaded else.
        await page.evaluate("for (const one of document.images) one.loading = 'eager'")
        await page.wait_for_timeout(1_500)
        _keep(await page.screenshot(full_page=True), PICTURES / f"{name}.png")
        if self.review:
            await page.emulate_media(color_scheme="dark")
            await page.screenshot(full_page=True, path=self.review / f"{name}-dark.png")
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
            await page.screenshot(full_page=True, path=self.review / f"{name}-phone.png")
        await page.close()
        print(f"{name}: {path}")  # noqa: T201 it tells how far it is

    async def _context(self, who: str) -> BrowserContext:
        if who not in self.contexts:
            context = await self.browser.new_context(reduced_motion="reduce", locale="en-GB")
            self.contexts[who] = context
            if who:
                await self._sign_in(context, who)
        return self.contexts[who]

    async def _sign_in(self, context: BrowserContext, who: str) -> None:
        page = await context.new_page()
        await page.goto(f"{self.origin}/sign-in")
        await page.get_by_label("Login").fill(who)
        await page.get_by_label("Password").fill(self.scene.state.password(who))
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(lambda url: "/sign-in" not in url)
        await page.close()


async def main(review: Path | None) -> int:
    """Return 0 when every picture is taken."""
    with tempfile.TemporaryDirectory() as directory:
        state = fresh(Path(directory) / "state")
        scene = Scene(state, Cast(state), Story(Console(stderr=True)))
        await set_stage(scene)
        async with running(scene) as supervisor:
            await start_agent(scene, supervisor)
            await beside(supervisor, partial(put_rules_in_force, scene))
            async with _studio(scene, review) as studio:
                await _tell(studio)
        scene.cast.close()
    return 0


@asynccontextmanager
async def _studio(scene: Scene, review: Path | None) -> AsyncIterator[Studio]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Studio(scene, browser, review)
        await browser.close()


async def _tell(studio: Studio) -> None:
    scene = studio.scene
    run = UpdateRun(scene.cast, str(card_of(scene)["id"]))
    card = f"/cards/{run.card_id}"
    await studio.take("", "/sign-in", "sign-in")
    await studio.take(HOLDER, "/cards", "my-cards")
    await studio.take(HOLDER, card, "card-contents")
    await studio.take(HOLDER, f"{card}/update", "update-card")
    await _begin(studio, run)
    update = f"/updates/{run.update_id}"
    await studio.take(HOLDER, update, "pending")

    await asyncio.to_thread(run.sign, LANE)
    await studio.take(OPERATOR, "/work", "work")
    await studio.take(OPERATOR, f"/work/{run.update_id}/{LANE}", "decision")
    await asyncio.to_thread(run.decide, LANE, Verdict.REJECT, "the signature is on the wrong line")
    await studio.take(HOLDER, update, "document-rejected")
    await _until_officers(run)
    await studio.take(OFFICERS[0], "/ca/requests", "ca-requests")
    request = await asyncio.to_thread(run.request_of, LANE, scene.cast.api(OFFICERS[0]))
    assert request is not None  # noqa: S101 the lane was waited for
    await studio.take(OFFICERS[0], f"/ca/requests/{request['id']}", "ca-request")

    await asyncio.to_thread(Turns(run).until_ready)
    await studio.take(HOLDER, update, "ready")
    await asyncio.to_thread(run.continue_)
    await asyncio.to_thread(run.until_stage, Stage.COMPLETED)
    await studio.take(HOLDER, update, "completed")
    await _desks(studio, update)
    await _afterwards(studio, card)


async def _begin(studio: Studio, run: UpdateRun) -> None:
    """The update is open and its PIN prompt is held until the picture of the page is taken."""
    hands = studio.scene.state.pinentry
    hold, real = hands.with_name("hold"), hands.with_name("pinentry-real")
    hands.rename(real)
    hands.write_text(HOLD.format(hold=hold, real=real))
    hands.chmod(0o700)
    hold.touch()
    await asyncio.to_thread(partial(run.open, optional=[OPTIONAL]))
    await studio.take(HOLDER, f"/updates/{run.update_id}", "enter-pin")
    hold.unlink()
    await asyncio.to_thread(run.until_stage, Stage.PENDING)


async def _until_officers(run: UpdateRun) -> None:
    await asyncio.to_thread(partial(run.sign, LANE, seed=7))
    await asyncio.to_thread(run.decide, LANE, Verdict.APPROVE)
    await asyncio.to_thread(run.until_lane, LANE, LaneStage.AT_CA)


async def _desks(studio: Studio, update: str) -> None:
    """The pages of those who administer and audit."""
    admin = studio.scene.cast.api(ADMIN)
    policy = str(card_of(studio.scene)["policy_name"])
    text = (ROOT / "policies" / "rf.toml").read_text()
    for old, new in NEXT_MONTH:
        text = text.replace(old, new)
    await studio.take(ADMIN, f"/policies/{policy}/1", "policy")
    await asyncio.to_thread(admin.post_text, "/policies", text, "application/toml")
    await studio.take(ADMIN, f"/policies/{policy}/2/changes", "policy-diff")
    await studio.take(ADMIN, "/health", "health")
    await studio.take(ADMIN, "/people", "people")
    await studio.take(AUDITOR, "/audit", "audit")
    await studio.take(AUDITOR, f"{update}/timeline", "timeline")


async def _afterwards(studio: Studio, card: str) -> None:
    """The pages that come between, and what is done for one's own safety."""
    await studio.take(HOLDER, "/account/codes", "one-time-codes", press="Set up one-time codes")
    lost = "Report the card lost"
    await studio.take(HOLDER, f"{card}/lost", "report-lost")
    await _signed_in_long_ago(studio.scene)
    await studio.take(HOLDER, f"{card}/lost", "step-up", press=lost)


async def _signed_in_long_ago(scene: Scene) -> None:
    """Everybody's last proof of who they are is as old as an act of weight does not take."""
    settings = scene.state.settings
    engine = create_engine(settings.database_url)
    old = utc_now() - timedelta(minutes=2 * settings.fresh_minutes)
    async with engine.begin() as connection:
        await connection.execute(sqlalchemy.update(Session).values(authenticated_at=old))
    await engine.dispose()


def _keep(png: bytes, path: Path) -> None:
    """Leave the picture with as few bytes as it needs: flat pages have few colours."""
    with Image.open(io.BytesIO(png)) as whole:
        picture = whole.crop((0, 0, whole.width, min(whole.height, TALLEST)))
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--review", type=Path, help="also leave dark and narrow pictures there")
    given = parser.parse_args()
    if given.review:
        given.review.mkdir(parents=True, exist_ok=True)
    run_and_exit(main(given.review))
