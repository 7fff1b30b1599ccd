"""`python -m api` as it is started: both doors, one end, and a sentence when it cannot start."""

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from api.__main__ import listening
from api.auth import SESSION_PREFIX, new_token, token_digest
from cardflow.checkpoint_files import read_tokens
from cardflow.db import audit
from cardflow.db.register_identity import open_session
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.model import new_id
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cardflow.sql import create_engine, sessions_of, transaction
from cli.__main__ import main
from cli.ports import free_ports
from tests.db.owner import unguard
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


def test_the_body_of_an_answer_does_not_wait_until_its_head_was_received():
    with listening("api_port", "127.0.0.1", 0) as door:
        with socket.create_connection(door.getsockname()):
            accepted, _address = door.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


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


async def test_the_trail_is_checked_from_a_terminal_and_a_checkpoint_saved(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    token, saved = await an_auditors_token(settings, tmp_path), tmp_path / "checkpoint.jws"
    people, agents = free_ports(2)
    url = f"http://127.0.0.1:{people}"
    root = ("--root", str(settings.decision_root_file))
    outside = ("--checkpoints", str(saved))

    async def told(*command: str) -> tuple[int, str]:
        """Return the exit code of a command, and everything that it said."""
        who = ("--url", url, "--token-file", str(token))
        code = await asyncio.to_thread(main, ["audit", *command, *who])
        said = capsys.readouterr()
        return code, said.out + said.err

    async with started(settings, api_port=people, door_port=agents):
        await answer_of(f"{url}/healthz")
        made = await told("checkpoint", "--output", str(saved))
        answers = [await told("verify"), await told("verify", *root, *outside)]
        rootless = await told("verify", *outside)
        await cut_off(settings)
        cut = await told("verify", *root, *outside)

    assert (made[0], read_tokens(saved)) == (0, read_tokens(settings.audit_checkpoint_dir))
    for code, said in answers:
        assert code == 0, said
        assert "covered to" in said
    assert rootless[0] == 1
    assert "--checkpoints needs --root" in rootless[1]
    assert cut[0] == 1
    assert "entry 3 is missing: entry 3 was there at the checkpoint of" in cut[1]


async def an_auditors_token(settings: Settings, directory: Path) -> Path:
    """Return a file with an auditor's token, over a trail of three entries."""
    engine, token = create_engine(settings.database_url), new_token(SESSION_PREFIX)
    now = utc_now()
    person = Person(id=new_id(), login="adam", name="Adam", roles=["auditor"], created_at=now)
    async with transaction(sessions_of(engine)) as session:
        session.add(person)
        await session.flush()
        until = now + timedelta(hours=1)
        await open_session(session, person.id, token_digest(token), now=now, until=until)
        await audit.append_all(session, [audit.Entry("signed_in", now) for _ in range(3)])
    await engine.dispose()
    write_secret(directory / "token", token.encode())
    return directory / "token"


async def cut_off(settings: Settings) -> None:
    """Take the last entry and its checkpoint away, as somebody could who owns the database."""
    engine = create_engine(settings.database_url)
    async with engine.begin() as connection:
        await unguard(connection, "audit", "audit_checkpoints")
        await connection.execute(text("DELETE FROM audit WHERE number = 3"))
        await connection.execute(text("DELETE FROM audit_checkpoints"))
    await engine.dispose()
