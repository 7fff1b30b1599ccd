"""The supervisor: order, honesty about what ended, and nothing left behind."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cardflow.errors import Refused, Unavailable
from cli.ports import free_ports
from cli.processes import ROOT, Program, Supervisor, accepts, locked, refuse_taken_ports
from tests.waiting import PATIENCE, until

UNTIL_TOLD = "import signal, sys; print('ready', flush=True); signal.pause()"
IN_ORDER = """
import signal, sys, time
name = sys.argv[1]
def end(*_):
    open("ended.txt", "a").write(name + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True: signal.pause()
"""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "log", patience=PATIENCE)
    yield supervisor
    await supervisor.stop()


def program(tmp_path: Path, name: str, source: str, *, never: bool = False) -> Program:
    """Return a Python program that is ready when its log says so."""
    log = tmp_path / "log" / f"{name}.log"

    async def is_ready() -> bool:
        return not never and "ready" in log.read_text()

    source = source.replace("ended.txt", str(tmp_path / "ended.txt"))
    return Program(name, (sys.executable, "-c", source, name), is_ready)


async def test_programs_stop_in_reverse_order(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "first", IN_ORDER))
    await supervisor.start(*(program(tmp_path, name, IN_ORDER) for name in ("second", "third")))

    await supervisor.stop()

    assert (tmp_path / "ended.txt").read_text().split() == ["third", "second", "first"]


async def test_a_program_that_ends_by_itself_is_named_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(program(tmp_path, "steady", UNTIL_TOLD))
    go = tmp_path / "go"
    os.mkfifo(go)
    source = f"print('ready', flush=True); open({str(go)!r}).read(); raise SystemExit('no memory')"
    await supervisor.start(program(tmp_path, "frail", source))
    go.write_text("end now")

    ended = await supervisor.until_one_ends()

    assert ended.startswith("frail ended by itself (exit code 1)")
    assert "no memory" in ended


async def test_a_program_that_ends_while_starting_is_told_at_once(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    began = time.monotonic()

    with pytest.raises(Unavailable, match=r"(?s)broken ended while starting.*bad setting"):
        await supervisor.start(program(tmp_path, "broken", "raise SystemExit('bad setting')"))
    assert time.monotonic() - began < PATIENCE / 2


async def test_a_program_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "log", patience=0.3)

    with pytest.raises(Unavailable, match=r"slow was not ready after 0\.3 s"):
        await supervisor.start(program(tmp_path, "slow", UNTIL_TOLD, never=True))
    await supervisor.stop()


async def test_a_program_that_ignores_us_is_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.processes.STOP_SECONDS", 0.5)
    supervisor = Supervisor(tmp_path / "log")
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True)"
    await supervisor.start(program(tmp_path, "deaf", f"{deaf}\nwhile True: signal.pause()"))

    await asyncio.wait_for(supervisor.stop(), PATIENCE)


async def test_what_a_program_started_is_stopped_with_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    source = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
{UNTIL_TOLD}
"""
    await supervisor.start(program(tmp_path, "parent", source))
    child = int((tmp_path / "child").read_text())

    await supervisor.stop()

    await until(lambda: not is_running(child), what="the end of the child")


async def test_programs_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    keep_pid = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    child_source = f"{keep_pid}; {UNTIL_TOLD}"
    source = f"""
import asyncio, os, signal, sys
from pathlib import Path
from cli.processes import Program, Supervisor
log = Path({str(tmp_path)!r}) / "child.log"
async def is_ready(): return "ready" in log.read_text()
async def main():
    child = {child_source!r}
    supervisor = Supervisor(log.parent)
    await supervisor.start(Program("child", (sys.executable, "-c", child), is_ready))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", source, cwd=ROOT)

    assert await parent.wait() == -signal.SIGKILL
    child = int((tmp_path / "pid").read_text())
    await until(lambda: not is_running(child), what="the end of the child")


def test_two_installations_do_not_share_a_state_directory(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(Refused, match=f"process {os.getpid()} already runs"),
        locked(tmp_path),
    ):
        pass


def test_the_state_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


async def test_every_taken_port_is_named_with_its_setting() -> None:
    def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        taken = server.sockets[0].getsockname()[1]
        places = {"CARDFLOW_API_PORT": ("127.0.0.1", taken), "X": ("127.0.0.1", free_ports(1)[0])}

        with pytest.raises(Refused, match=f"CARDFLOW_API_PORT: port {taken} is taken") as refusal:
            refuse_taken_ports(places)
        assert len(refusal.value.objections) == 1
        assert await accepts("127.0.0.1", taken)


async def test_a_port_nobody_listens_on_accepts_nothing() -> None:
    assert not await accepts("127.0.0.1", free_ports(1)[0])


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
