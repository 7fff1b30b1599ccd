"""The demo's stage for end-to-end tests: one card, as its holder has one, for a file of tests."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest

from cardflow.environment import SETTINGS_FILE
from cardflow.model import Stage
from cli.demo_card import BADGE_ID
from cli.demo_people import ADMIN, HOLDER, Cast
from cli.demo_proofs import KINDS, CaseFile, objects_by_id
from cli.demo_setup import (
    Scene,
    beside,
    card_of,
    put_rules_in_force,
    set_stage,
    start_agent,
    started,
)
from cli.demo_state import fresh
from cli.demo_steps import Turns, UpdateRun
from cli.demo_story import Story
from cli.demo_update import begin, finish
from cli.processes import Supervisor
from tests.databases import Databases

T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    """The stage while everything runs; the demo's update is done, with a restart in the middle."""

    scene: Scene
    supervisor: Supervisor
    run: UpdateRun
    case: CaseFile

    async def do(self, work: Callable[[], T]) -> T:
        """Return what the blocking work returns, unless a program ends meanwhile."""
        return await beside(self.supervisor, work)


@pytest.fixture(scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases
) -> AsyncIterator[Scene]:
    """Yield the stage, set: nothing runs yet."""
    state = fresh(tmp_path_factory.mktemp("demo") / "state")
    with (state.directory / SETTINGS_FILE).open("a") as settings:
        settings.write('log_level = "debug"\n')  # what must not be said is looked for in logs
    databases.furnish(state.directory, migrated=False)
    scene = Scene(state, Cast(state), Story())
    (temporary := state.directory / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("TMPDIR", str(temporary))
        await set_stage(scene)
        yield scene
    scene.cast.close()


@pytest.fixture(scope="module")
async def running(scene: Scene) -> AsyncIterator[Running]:
    """Yield the stage with everything running anew, the agent too, and the demo's update done."""
    async with started(scene) as supervisor:
        await start_agent(scene, supervisor)
        await beside(supervisor, partial(put_rules_in_force, scene))
        begun = await beside(supervisor, partial(begin, scene))

    async with started(scene) as supervisor:
        await start_agent(scene, supervisor)
        case = await beside(supervisor, partial(finish, scene, begun))
        yield Running(scene, supervisor, begun.run, case)


def policy(name: str, *profiles: tuple[str, str, str], **options: str) -> str:
    """Return a policy with these (profile, mode, key type), as TOML."""
    head = [f'name = "{name}"', 'title = "A test"', 'contact = "Ask."']
    head += [f'{key} = "{value}"' for key, value in options.items()]
    for profile, mode, key_type in profiles:
        head += ["[[profiles]]", f'profile = "{profile}"']
        head += [f'mode = "{mode}"', f'key_type = "{key_type}"']
    return "\n".join(head)


def under(scene: Scene, toml: str) -> UpdateRun:
    """The card follows this policy; return a new run on it."""
    admin, card = scene.cast.api(ADMIN), card_of(scene)
    version = admin.post_text("/policies", toml, "application/toml")
    admin.patch(f"/cards/{card['id']}", {"policy_name": version["name"]})
    return UpdateRun(scene.cast, card["id"])


def on_card(scene: Scene) -> dict[str, list[str]]:
    """Return the kinds of objects under each CKA_ID, by pkcs11-tool, but for the third party's."""
    found = objects_by_id(scene.state.card.objects())
    found.pop(BADGE_ID)
    return found


def managed(run: UpdateRun, *profiles: str) -> dict[str, dict[str, Any]]:
    """Return our certificates by profile, once the card is seen to carry exactly these."""

    def is_settled(contents: dict[str, Any]) -> bool:
        seen = sorted(one["profile"] for one in contents["managed"])
        return seen == sorted(profiles) and not contents["missing"]

    return {one["profile"]: one for one in run.contents(is_settled)["managed"]}


def conclude(run: UpdateRun, *profiles: str) -> None:
    """The holder continues, and in the end the card carries exactly these profiles."""
    run.continue_()
    run.until_stage(Stage.COMPLETED)
    managed(run, *profiles)


def happened(run: UpdateRun, lane: str) -> list[str]:
    """Return the kinds of what happened in the lane, in order."""
    events = run.cast.api(HOLDER).items(f"/updates/{run.update_id}/timeline")
    return [event["kind"] for event in events if event["lane"] == lane]


def bring_to(scene: Scene, *profiles: str) -> None:
    """The card carries exactly these profiles, each from an update without forms."""
    wanted = [(profile, "none", "P-256") for profile in profiles]
    run = under(scene, policy("start", *wanted))
    if not run.plan()["plan"]["objections"]:
        run.open()
        Turns(run).until_ready(at=(Stage.COMPLETED,))
    managed(run, *profiles)


def whole_pairs(scene: Scene) -> int:
    """Return how many whole pairs of ours are on the card; there must be nothing else."""
    found = on_card(scene)
    assert {tuple(sorted(kinds)) for kinds in found.values()} <= {tuple(sorted(KINDS))}
    return len(found)
