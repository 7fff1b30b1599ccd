"""A full disk and wrong clocks: nothing is acknowledged that is not kept, and all goes on later."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cardflow.settings import setting_name
from tests.chaos.case import Case
from tests.chaos.instruments.full_disk import SCENARIOS
from tests.chaos.instruments.full_world import CASES
from tests.chaos.processes import inherited
from tests.chaos.world import World
from tests.databases import Databases, Files
from tests.waiting import until

pytestmark = pytest.mark.sqlite
PROJECT = Path(__file__).resolve().parents[2]
# A mount of one's own; who is not root may have it in a user namespace of one's own.
ALONE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
NAMES = [f"{name} {room}" for name, (_, rooms) in SCENARIOS.items() for room in rooms]


@pytest.fixture(scope="module")
def on_a_full_disk(tmp_path_factory):
    """What came of each scenario."""
    directory, template, copy = (
        tmp_path_factory.mktemp(name) for name in ("small", "tables", "db")
    )
    empty = make_url(Databases(Files(), template).migrated(copy)).database
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.chaos.instruments.full_disk", str(directory)],
        cwd=PROJECT,
        input=Path(empty).read_bytes(),
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def those(kind):
    return [name for name in NAMES if name.startswith(kind)]


@pytest.mark.parametrize("name", those("documents"))
def test_a_document_without_room_leaves_nothing_and_is_kept_later(on_a_full_disk, name):
    found = on_a_full_disk[name]
    assert found.pop("told") == "the document store has no room left; nothing was kept"
    assert all(found.values()), found


@pytest.mark.parametrize("name", those("database"))
def test_what_was_committed_before_the_disk_was_full_is_whole(on_a_full_disk, name):
    found = on_a_full_disk[name]
    assert "full" in found["told"]
    assert (found["ok"], found["entries"]) == (True, True)


@pytest.mark.parametrize("name", those("journal"))
def test_a_line_of_the_journal_that_had_no_room_does_not_count(on_a_full_disk, name):
    found = on_a_full_disk[name]
    assert "No space left" in found["told"]
    assert (found["torn"], found["first"], found["again"]) == ("", True, "again")


@pytest.fixture(scope="module")
def in_a_small_world(tmp_path_factory):
    """What was found of each update that met a full disk."""
    directory = tmp_path_factory.mktemp("small-world")
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.chaos.instruments.full_world", str(directory)],
        cwd=PROJECT,
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.softhsm
@pytest.mark.temporal
@pytest.mark.parametrize("name", CASES)
def test_an_update_ends_though_the_disk_was_full_for_a_while(in_a_small_world, name):
    assert in_a_small_world[name] == ""


# Clocks. libfaketime stands before one of the world's processes; all others have the true time.
# Its program ``faketime`` would stay between us and the process, and be killed in its place.

LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

CLOCKS = [
    ("api", "+4m"),
    ("api", "-4m"),
    ("worker", "+4m"),
    ("worker", "-4m"),
    ("agent-0", "+25h"),
    ("agent-0", "+10m"),
    ("agent-0", "-4m"),
]
PROGRAMS = {"api": ("-m", "api"), "worker": ("worker.py",), "agent-0": ("-m", "agent", "run")}


async def ticking(world: World, name: str, offset: str) -> int:
    """Return the process id of one of ours whose clock is wrong."""
    desk = world.desks[0]
    arguments = ("--state", str(desk.state.path)) if name.startswith("agent") else ()
    environment = {
        setting_name("state_dir"): str(world.directory),
        "SOFTHSM2_CONF": str(desk.card.configuration),
    }
    with (world.log_dir / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(sys.executable, *PROGRAMS[name], *arguments),
            cwd=PROJECT,
            env=inherited(
                PYTHONPATH=str(PROJECT), LD_PRELOAD=LIBFAKETIME, FAKETIME=offset, **environment
            ),
            stdout=log,
            stderr=log,
        )
    return process.pid


@pytest.fixture
async def wrong(here: World, request) -> AsyncIterator[str]:
    """The name of a process whose clock is wrong as long as the test runs."""
    name, offset = request.param
    process, right = here.processes[name], here.processes[name].start
    process.start = partial(ticking, here, name, offset)
    await process.killed()
    yield name
    process.start = right
    await process.killed()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.softhsm
@pytest.mark.temporal
@pytest.mark.parametrize("wrong", CLOCKS, indirect=True, ids=[" ".join(one) for one in CLOCKS])
async def test_an_update_ends_though_a_clock_is_wrong(here: World, wrong: str) -> None:
    desk = here.desks[0]

    async def contents():
        return await desk.holder.get(f"/cards/{desk.card_id}/contents")

    await until(contents, lambda seen: seen["connected"], what="the card's report")
    async with Case(here, f"a wrong clock: {wrong}", len(wrong), desk=desk) as case:
        await case.run("RF")
