"""`cardflow up`: everything starts, stops in order, and goes on where it was."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from cardflow.settings import Settings, load_settings, setting_name
from cli.ports import free_ports
from cli.processes import ROOT, accepts
from cli.up import prepare
from tests.databases import Databases
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.e2e
START_SECONDS, STOP_SECONDS = 120, 30


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Settings:
    state = tmp_path_factory.mktemp("state")
    api, door, temporal, ui, smtp, page, metrics = free_ports(7)
    lines = (
        f'public_url = "http://localhost:{api}"',
        f'door_url = "https://localhost:{door}"',
        f'temporal_address = "127.0.0.1:{temporal}"',
        f"api_port = {api}",
        f"door_port = {door}",
        f"temporal_ui_port = {ui}",
        f"smtp_port = {smtp}",
        f"catcher_port = {page}",
        f"worker_metrics_port = {metrics}",
    )
    (state / "cardflow.toml").write_text("\n".join(lines))
    databases.furnish(state, migrated=False)
    return load_settings(state)


async def begin(settings: Settings) -> asyncio.subprocess.Process:
    state = f"{setting_name('state_dir')}={settings.state_dir}"
    command = ("env", state, sys.executable, "-c", "from cli.stay_up import up; up(empty=True)")
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)


@asynccontextmanager
async def up(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """Yield `cardflow up` when it has said its addresses; it is not left running."""
    process = await begin(settings)
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(START_SECONDS):
            while b"Ctrl-C" not in said:
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end(process: asyncio.subprocess.Process, number: signal.Signals) -> tuple[int, float]:
    began = time.monotonic()
    process.send_signal(number)
    return await asyncio.wait_for(process.wait(), PATIENCE), time.monotonic() - began


def programs(settings: Settings) -> dict[str, int]:
    """Return the process ids of everything that works on the state directory."""
    found = {}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or directory.name == str(os.getpid()):
            continue
        try:
            surroundings = (directory / "environ").read_bytes()
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if str(settings.state_dir) in f"{command}{surroundings.decode(errors='replace')}":
            found[command] = int(directory.name)
    return found


async def test_everything_answers_once_and_a_signal_ends_it_in_order(settings: Settings) -> None:
    async with up(settings) as process, httpx2.AsyncClient() as client:
        ready = await client.get(f"{settings.public_url}/readyz")
        mails = await client.get(f"http://localhost:{settings.catcher_port}/api/messages")
        pages = await client.get(f"http://localhost:{settings.temporal_ui_port}/")
        door = await accepts(settings.door_host, settings.door_port)
        second, objection = await refused(settings)

        code, seconds = await end(process, signal.SIGINT)

    assert (ready.status_code, mails.json(), pages.status_code, door) == (200, [], 200, True)
    assert (second, f"process {process.pid} already runs Cardflow" in objection) == (1, True)
    assert (code, seconds < STOP_SECONDS) == (0, True)
    assert programs(settings) == {}


async def test_it_starts_again_on_the_same_state_and_ends_when_a_program_dies(
    settings: Settings,
) -> None:
    await prepare(settings)
    secrets = settings.codec_key_file.read_bytes()

    async with up(settings) as process:
        (worker,) = (pid for name, pid in programs(settings).items() if "worker.py" in name)
        os.kill(worker, signal.SIGKILL)
        assert process.stderr is not None
        said = (await asyncio.wait_for(process.stderr.read(), PATIENCE)).decode()
        code = await process.wait()

    assert settings.codec_key_file.read_bytes() == secrets
    assert code == 1
    assert "worker ended by itself (exit code -9)" in said
    assert programs(settings) == {}


async def test_nothing_stays_behind_when_it_is_killed(settings: Settings) -> None:
    async with up(settings) as process:
        process.kill()
        await process.wait()

        await until(lambda: not programs(settings), what="the end of all programs")


async def refused(settings: Settings) -> tuple[int | None, str]:
    """Return how a second one ends on the same state directory, and what it says."""
    second = await begin(settings)
    _, said = await second.communicate()
    return second.returncode, said.decode().replace("\n", " ")
