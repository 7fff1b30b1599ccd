"""The processes of a world: forked, watched, stopped by failpoints, killed, and started again."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardflow.failpoints import VARIABLE
from cli.processes import ROOT
from tests.chaos.forking import is_alive

PATIENCE = 30
TRIES = 10


class Line:
    """A program of ours that answers each line on its standard input with one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def to(
        cls, log: Path, *command: str, environment: dict[str, str] | None = None
    ) -> "Line":
        """Return the line to ``python -m`` this; it ends with us."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", *command),
                cwd=ROOT,
                env=inherited(PYTHONPATH=str(ROOT), **(environment or {})),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=2**22,
            )
        return cls(process)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def hear(self) -> dict[str, Any]:
        """Return the next line."""
        assert self._process.stdout
        text = await asyncio.wait_for(self._process.stdout.readline(), 60)
        return dict(json.loads(text))

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to the question."""
        assert self._process.stdin
        async with self._turn:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            await self._process.stdin.drain()
            return await self.hear()

    async def end(self) -> None:
        """Leave nothing of it, and nothing that it forked."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@dataclass
class Process:
    """One of the product's processes: how it is started, and whether it serves."""

    name: str
    start: Callable[[], Awaitable[int]]
    is_ready: Callable[[], Awaitable[bool]]
    pid: int = 0
    starts: int = 0
    doomed: int = 0  # how many are killing it
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def up(self) -> None:
        """Have it started and ready; who is killed while starting is started again."""
        for _try in range(TRIES):
            self.pid = await self.start()
            self.starts += 1
            if await self.ready():
                return
            await asyncio.sleep(0.2)  # what it needs may be starting too
        raise AssertionError(f"{self.name} ended while starting, {TRIES} times")

    async def ready(self) -> bool:
        """Return whether it serves: True once it does, False when it has ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while is_alive(self.pid):
            if await self.is_ready():
                return is_alive(self.pid)
            assert loop.time() < until, f"{self.name} was not ready within {PATIENCE} s"
            await asyncio.sleep(0.03)
        return False

    async def kept(self) -> bool:
        """Start it again if it has ended by itself, as a supervisor does; tell whether it had."""
        if not self.pid or self.doomed or is_alive(self.pid) or self.turn.locked():
            return False
        async with self.turn:
            if has_ended := not is_alive(self.pid):
                await self.up()
        return has_ended

    async def killed(self) -> None:
        """Have it killed, at this instant, and started again."""
        self.doomed += 1
        await kill(self.pid)  # before our turn: who has it waits for what may have stopped
        async with self.turn:
            self.doomed -= 1
            if not is_alive(self.pid):
                await self.up()


async def kill(pid: int) -> None:
    """Return when the process is gone for good."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for _ in range(1_000):
        if not is_alive(pid):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"process {pid} cannot be killed")


def inherited(**more: str) -> dict[str, str]:
    """Return our own environment, and more."""
    return {**os.environ, **more}  # noqa: TID251 (programs inherit it)


def armed_with(directory: Path) -> dict[str, str]:
    """Return what a process's environment says so that its failpoints count."""
    for name in ("armed", "fired", "whose"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "trace").touch()
    return {VARIABLE: str(directory)}
