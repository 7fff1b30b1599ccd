"""The agent's own processes beside it, each on a private line: the only ones that load modules."""

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from agent.messages import LONGEST_LINE, line

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Child:
    """A running process and the line to it."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def start(cls, module: str, first_message: Any) -> Self:
        """Start ``python -m module`` afresh, never as a fork, and tell it what it needs to know."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, str(theirs.fileno())),
                cwd=ROOT,
                stdout=asyncio.subprocess.DEVNULL,  # modules write there what they like
                pass_fds=(theirs.fileno(),),
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        writer.write(line(first_message))
        return cls(process, reader, writer)

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None or self.reader.at_eof()

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        self.writer.write(line(message))
        await self.writer.drain()

    async def receive(self, patience_seconds: float) -> dict[str, Any]:
        """Return the next message, or raise TimeoutError, EOFError or ValueError."""
        async with asyncio.timeout(patience_seconds):
            text = await self.reader.readline()
        if not text.endswith(b"\n"):
            raise EOFError
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError("a message is an object")  # noqa: TRY004 (nonsense on the line)
        return message

    def kill(self) -> None:
        """End the process at once."""
        if self.process.returncode is None:
            self.process.kill()

    async def end(self, patience_seconds: float) -> None:
        """Close the line, and wait until the process has ended by itself or by force."""
        self.writer.close()
        try:
            await asyncio.wait_for(self.process.wait(), patience_seconds)
        except TimeoutError:
            self.kill()
            await self.process.wait()
