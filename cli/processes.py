"""Runs the programs of one installation: in order, watched, and never leaving one behind."""

import asyncio
import fcntl
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cardflow.errors import Refused, Unavailable

ROOT = Path(__file__).resolve().parent.parent  # programs run from here, so that imports are found
STOP_SECONDS = 9.0
EACH_SECONDS = 0.5  # kept back for every program that is still to be stopped
LOG_LINES_SHOWN = 12
ASK_EVERY_SECONDS = 0.1  # the programs need the processor more than the question does


@dataclass(frozen=True)
class Program:
    """A program, and the question whether it is ready; asked again until the answer is yes."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)  # in addition; holds no secret


@dataclass(frozen=True)
class _Running:
    program: Program
    process: asyncio.subprocess.Process
    log: Path


class Supervisor:
    """Starts programs, tells which one ended by itself, and stops them in reverse order."""

    def __init__(self, log_dir: Path, *, patience: float = 30) -> None:
        self._log_dir = log_dir
        self._patience = patience
        self._running: list[_Running] = []

    async def start(self, *programs: Program) -> None:
        """Return when all of them are ready; raise Unavailable with the last words of one not."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for program in programs:
            log = self._log_dir / f"{program.name}.log"
            with log.open("ab") as file:
                self._running.append(_Running(program, await _spawn(program, file), log))
        deadline = time.monotonic() + self._patience
        waiting = self._running[-len(programs) :]
        while waiting := [each for each in waiting if not await _is_ready(each)]:
            if time.monotonic() > deadline:
                waited = f"{waiting[0].program.name} was not ready after {self._patience:g} s"
                raise Unavailable(_last_words(waiting[0], waited))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    @property
    def pids(self) -> dict[str, int]:
        """The process of each program that was started, by name."""
        return {each.program.name: each.process.pid for each in self._running}

    async def until_one_ends(self) -> str:
        """Return, when a program has ended that should have stayed, which one and how."""
        waits = {asyncio.ensure_future(each.process.wait()): each for each in self._running}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        ended = waits[next(iter(done))]
        code = ended.process.returncode
        return _last_words(ended, f"{ended.program.name} ended by itself (exit code {code})")

    async def stop(self) -> None:
        """Leave no program running: asked first, the last one first, and killed in the end."""
        deadline = time.monotonic() + STOP_SECONDS
        while self._running:
            process = self._running[-1].process
            with suppress(ProcessLookupError):
                process.terminate()
            left = deadline - time.monotonic() - EACH_SECONDS * (len(self._running) - 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), max(left, EACH_SECONDS))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever it started in its own group
            await process.wait()
            self._running.pop()


async def _is_ready(running: _Running) -> bool:
    if running.process.returncode is not None:
        ended = f"{running.program.name} ended while starting"
        raise Unavailable(_last_words(running, ended))
    return await running.program.is_ready()


async def _spawn(program: Program, log: IO[bytes]) -> asyncio.subprocess.Process:
    # A session of its own keeps the terminal's Ctrl-C away: we stop programs in our order. The
    # kernel ends them if we are killed ourselves, so that the next start finds its ports free.
    settings = [f"{name}={value}" for name, value in program.environment.items()]
    return await asyncio.create_subprocess_exec(
        *("env", *settings, "setpriv", "--pdeathsig", "TERM", "--", *program.command),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _last_words(running: _Running, what: str) -> str:
    lines = running.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join([f"{what}; see {running.log}", *(f"  {line}" for line in lines)])


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, or refuse because another installation does."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = lock.read().strip()
            raise Refused(
                f"process {other} already runs Cardflow on {state_dir}; stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def refuse_taken_ports(ports: Mapping[str, tuple[str, int]]) -> None:
    """Refuse, naming every setting whose port another program listens on."""
    taken = [
        f"{setting}: port {port} is taken by another program; stop it, or choose another port"
        for setting, (host, port) in ports.items()
        if _is_taken(host, port)
    ]
    if taken:
        raise Refused(*taken)


def _is_taken(host: str, port: int) -> bool:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError:
        return True
    return False


async def accepts(host: str, port: int) -> bool:
    """Tell whether something listens there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
