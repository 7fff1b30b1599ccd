"""`cardflow up`: everything runs on this machine until Ctrl-C, with something to try out."""

from functools import partial
from pathlib import Path

from rich.console import Console

from cardflow.environment import SETTINGS_FILE
from cardflow.errors import Refused
from cardflow.settings import Settings, load_settings
from cardflow.temporal.ending import run_and_exit
from cli.demo_people import ADMIN, AUDITOR, HOLDER, OFFICERS, OPERATOR, Cast
from cli.demo_setup import Scene, beside, put_rules_in_force, set_stage, start_agent
from cli.demo_state import DemoState, settings_to_try_out
from cli.demo_story import Story
from cli.output import say
from cli.up import addresses, installation, until_told_to_end

ROLES = {ADMIN: "admin", HOLDER: "holder", OPERATOR: "operator", AUDITOR: "auditor"}
ROLES |= dict.fromkeys(OFFICERS, "CA officer")


def up(*, state: Path | None = None, empty: bool = False) -> None:
    """Start everything on this machine and stay up; Ctrl-C stops it, starting again goes on.

    The first start makes people, policies and a SoftHSM card that is due for an update, so that
    there is something to try out.

    Parameters
    ----------
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    empty
        Make nothing to try out; the first person is then made by `cardflow people first-admin`.
    """
    run_and_exit(until_told_to_end(_stay_up(load_settings(state).state_dir, empty=empty)))


async def _stay_up(directory: Path, *, empty: bool) -> int:
    scene = Scene(state := DemoState(directory), Cast(state), Story(Console(stderr=True)))
    is_new = not empty and _is_untouched(state)
    say("starting …")
    if is_new:
        await _set_stage(scene)
    try:
        async with installation(state.settings) as supervisor:
            if state.agent_dir.exists():
                await start_agent(scene, supervisor)
            if is_new:
                await beside(supervisor, partial(put_rules_in_force, scene))
                state.unfinished.unlink()
            scene.cast.close()
            say(addresses(state.settings))
            say(_sign_ins(state))
            say("Ctrl-C stops everything.")
            say(await supervisor.until_one_ends())
            return 1
    finally:
        say("stopped; starting again goes on where it was")


def _is_untouched(state: DemoState) -> bool:
    if state.unfinished.exists():
        reason = f"the first start in {state.directory} was broken off"
        raise Refused(f"{reason}\n  → remove that directory and start again")
    return not (state.directory / SETTINGS_FILE).exists() and not _has_database(state.settings)


def _has_database(settings: Settings) -> bool:
    own = settings.database_url == f"sqlite+aiosqlite:///{settings.state_dir}/cardflow.db"
    return not own or (settings.state_dir / "cardflow.db").exists()


async def _set_stage(scene: Scene) -> None:
    state = scene.state
    state.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    state.unfinished.touch()
    (state.directory / SETTINGS_FILE).write_text(settings_to_try_out(state.directory))
    state.make()
    await set_stage(scene)


def _sign_ins(state: DemoState) -> str:
    if not state.agent_dir.exists():
        return "Nobody is made to try out; see: cardflow people first-admin --help"
    lines = [f"  {who:8} {state.password(who):20} {role}" for who, role in ROLES.items()]
    return "\n".join(["Sign-ins (in the portal, or cardflow login NAME):", *lines])
