"""`python -m api` as it is started: both doors, one end, and a sentence when it cannot start."""

import asyncio
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from cardflow.settings import Settings
from tests.ports import free_ports
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.e2e


@asynccontextmanager
async def started(
    settings: Settings, **changes: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Yield the process over the installation; it is gone afterwards."""
    given = {"state_dir": settings.state_dir, "temporal_address": "127.0.0.1:1", **changes}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api",
        env={f"CARDFLOW_{name.upper()}": str(value) for name, value in given.items()},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answer_of(url: str, **options: object) -> httpx2.Response:
    """Return the first answer; the process needs a moment to start."""
    async with httpx2.AsyncClient(trust_env=False, **options) as client:

        async def look() -> httpx2.Response | None:
            with suppress(httpx2.ConnectError):
                return await client.get(url)
            return None

        answer = await until(look, what=f"an answer from {url}")
        assert answer is not None
        return answer


async def test_both_doors_open_and_one_signal_closes_them(settings: Settings):
    people, agents = free_ports(2)
    trust = ssl.create_default_context(cafile=settings.door_root_file)
    async with started(settings, api_port=people, door_port=agents) as process:
        alive = await answer_of(f"http://127.0.0.1:{people}/healthz")
        foreign = await answer_of(f"https://localhost:{agents}/healthz", verify=trust)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            _out, said = await process.communicate()

    assert alive.json() == {"status": "ok"}
    assert foreign.status_code == 404
    assert process.returncode == 0, said.decode()
    assert b"Traceback" not in said


async def test_an_address_that_is_taken_is_named_with_its_setting(settings: Settings):
    people, agents = free_ports(2)
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", people)
    async with server, started(settings, api_port=people, door_port=agents) as process:
        _out, said = await process.communicate()

    assert process.returncode == 1
    assert b"CARDFLOW_API_PORT" in said
    assert b"Traceback" not in said


async def test_a_missing_secret_is_named_with_its_file(settings: Settings):
    settings.job_key_file.unlink()
    people, agents = free_ports(2)
    async with started(settings, api_port=people, door_port=agents) as process:
        _out, said = await process.communicate()

    assert process.returncode == 1
    assert b"job-key.pem is missing" in said
