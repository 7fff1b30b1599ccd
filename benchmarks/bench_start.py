"""How long everything takes to be ready, and what each process keeps while nobody asks.

The first start makes secrets, a CA and a database as well; the second one only starts. The agent is
the real one, with SoftHSM as its reader.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, is_quick, show
from benchmarks.workplace import resident_mib
from cardflow.temporal.ending import run_and_exit
from cli.demo_agent import enrol
from cli.demo_people import ADMIN, HOLDER, Cast
from cli.demo_setup import FIRST_DAYS, Scene, start_agent
from cli.demo_state import DemoState, fresh
from cli.demo_story import Story
from cli.first_admin import make_first_admin
from cli.up import installation

IDLE_SECONDS = 10
REACH_MIB = {"api": 150, "worker": 200, "agent": 80}


async def first_start(state: DemoState, cast: Cast) -> float:
    """People, a card and an enrolled workstation are there; return the seconds until ready."""
    before = time.perf_counter()
    async with installation(state.settings):
        seconds = time.perf_counter() - before
        await make_first_admin(state.settings, ADMIN, "Ada Holm", state.password(ADMIN))
        await asyncio.to_thread(_register, state, cast)
        cast.close()
    return seconds


def _register(state: DemoState, cast: Cast) -> None:
    cast.register()
    admin = cast.api(ADMIN)
    policy = admin.post_text("/policies", FIRST_DAYS, "application/toml")
    told = {"token_serial": state.card.serial, "holder_id": cast.person(HOLDER)["id"]}
    admin.post("/cards", {**told, "policy_name": policy["name"]})
    enrol(state, cast.api(HOLDER))


async def second_start(state: DemoState, cast: Cast, idle: float) -> tuple[float, dict[str, float]]:
    """Return the seconds until ready, and the memory of each process when it was idle a while."""
    before = time.perf_counter()
    async with installation(state.settings) as supervisor:
        seconds = time.perf_counter() - before
        await start_agent(Scene(state, cast, Story()), supervisor)
        cast.close()
        await asyncio.sleep(idle)
        return seconds, {name: resident_mib(pid) for name, pid in supervisor.pids.items()}


async def main() -> int:
    """Start twice, look, show."""
    quick = is_quick()
    with tempfile.TemporaryDirectory() as name:
        state = fresh(Path(name) / "state")
        cast = Cast(state)
        first = await first_start(state, cast)
        second, memory = await second_start(state, cast, 1 if quick else IDLE_SECONDS)
    rows = [
        Row("first start, CA and database made, to ready", first, "s",
            higher_is_better=False, reach=10),
        Row("start again, to ready", second, "s", higher_is_better=False, reach=10),
    ]  # fmt: skip
    rows += [
        Row(f"memory while idle: {name}", figure, "MiB", higher_is_better=False,
            reach=REACH_MIB.get(name))
        for name, figure in memory.items()
    ]  # fmt: skip
    show("start", rows)
    return 0


if __name__ == "__main__":
    run_and_exit(main())
