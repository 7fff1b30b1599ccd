"""The stage of the demo, set through the public API: people, rules, a card that needs an update.

Its old certificate is honest. It comes from a first update (mode none, one visit) of an
organisation that tried Cardflow out with short-lived certificates before it put its rules in force.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from cardflow.errors import Unavailable
from cardflow.model import Stage
from cardflow.profiles import SAMPLES
from cli.demo_agent import enrol
from cli.demo_people import ADMIN, HOLDER, Cast
from cli.demo_state import DemoState
from cli.demo_steps import UpdateRun
from cli.demo_story import Story
from cli.first_admin import make_first_admin
from cli.processes import ROOT, Supervisor
from cli.up import agent_program, installation

T = TypeVar("T")
TOML = "application/toml"
RULES = ROOT / "policies" / "rf.toml"
FIRST_DAYS = """\
name = "first-days"
title = "Trying out: logon only, in one visit"
contact = "Ask the service desk, room 101, servicedesk@example.org."

[[profiles]]
profile = "smart-card-logon"
mode = "none"
key_type = "RSA-2048"
"""


@dataclass(frozen=True)
class Scene:
    """Where a demo plays, who plays, and who tells it."""

    state: DemoState
    cast: Cast
    story: Story


async def set_stage(scene: Scene) -> None:
    """A card with a certificate near its end is there, and the short-lived profiles are gone."""
    scene.story.chapter("First days: an organisation tries Cardflow out")
    async with started(scene) as supervisor:
        with scene.story.step("Ada", "becomes the first administrator"):
            settings, password = scene.state.settings, scene.state.password(ADMIN)
            await make_first_admin(settings, ADMIN, "Ada Holm", password)
        await beside(supervisor, partial(_register, scene))
        await beside(supervisor, partial(_enrol, scene))
        await start_agent(scene, supervisor)
        await beside(supervisor, partial(_first_update, scene))
        scene.cast.close()
    shutil.copy(SAMPLES, scene.state.profiles_file)


@asynccontextmanager
async def started(scene: Scene) -> AsyncIterator[Supervisor]:
    """Yield while everything runs, told as one step."""
    context = installation(scene.state.settings)
    with scene.story.step("Cardflow", "starts Temporal, API, worker and mail catcher"):
        supervisor = await context.__aenter__()
    try:
        yield supervisor
    finally:
        await context.__aexit__(None, None, None)


async def start_agent(scene: Scene, supervisor: Supervisor) -> None:
    """Hanna's agent runs and has shown her card."""
    with scene.story.step("Agent", "starts at Hanna's workstation and reports her card"):
        look = partial(asyncio.to_thread, _has_reported, scene, datetime.now(UTC))
        program = agent_program(scene.state.agent_dir, look)
        surroundings = {"SOFTHSM2_CONF": str(scene.state.card.configuration)}
        await supervisor.start(replace(program, environment=surroundings))


async def beside(supervisor: Supervisor, work: Callable[[], T]) -> T:
    """Return what the work returns, unless a program ends by itself meanwhile."""
    working = asyncio.create_task(asyncio.to_thread(work))
    watching = asyncio.create_task(supervisor.until_one_ends())
    await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        raise Unavailable(watching.result())
    watching.cancel()
    return working.result()


def put_rules_in_force(scene: Scene) -> None:
    """The card follows the real rules: both forms, and officers at the CA."""
    admin = scene.cast.api(ADMIN)
    with scene.story.step("Ada", "puts the policy with both forms in force") as told:
        version = admin.post_text("/policies", RULES.read_text(), TOML)
        admin.patch(f"/cards/{card_of(scene)['id']}", {"policy_name": version["name"]})
        told.say(f"{version['name']}, version {version['version']}")


def card_of(scene: Scene) -> dict[str, Any]:
    """Return Hanna's card as she sees it."""
    card: dict[str, Any]
    (card,) = scene.cast.api(HOLDER).items("/cards")
    return card


def _register(scene: Scene) -> None:
    with scene.story.step("Ada", "registers people from a CSV file") as told:
        told.say(f"{scene.cast.register()} people")
    admin = scene.cast.api(ADMIN)
    with scene.story.step("Ada", "imports a first policy: no forms, short-lived certificates"):
        policy = admin.post_text("/policies", FIRST_DAYS, TOML)
    with scene.story.step("Ada", "registers Hanna's card") as told:
        card = {
            "token_serial": scene.state.card.serial,
            "token_label": scene.state.card.label,
            "holder_id": scene.cast.person(HOLDER)["id"],
            "policy_name": policy["name"],
        }
        told.say(str(admin.post("/cards", card)["token_serial"]))


def _enrol(scene: Scene) -> None:
    with scene.story.step("Hanna", "enrols her workstation with a one-time code") as told:
        words = enrol(scene.state, scene.cast.api(HOLDER))
        told.say(f"confirmed by “{words}”")


def _has_reported(scene: Scene, since: datetime) -> bool:
    """Tell whether the agent that was started then has shown the card; an older report lives on."""
    run = UpdateRun(scene.cast, card_of(scene)["id"])
    seen = run.contents()
    return bool(seen["connected"]) and datetime.fromisoformat(seen["seen_at"]) > since


def _first_update(scene: Scene) -> None:
    run = UpdateRun(scene.cast, card_of(scene)["id"], scene.story)
    with scene.story.step("Hanna", "updates her card: mode none, one visit, one PIN") as told:
        run.open()
        run.until_stage(Stage.COMPLETED)
        managed = run.contents(itemgetter("managed"))["managed"]
        told.say(f"valid until {managed[0]['not_after'][:10]}")
