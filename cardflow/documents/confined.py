"""Has a fork of ``cardflow.documents.examiner`` look at one file, and lets it take only so much."""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from cardflow.documents.examiner import Limits
from cardflow.errors import Unavailable

_ROOT = Path(__file__).parents[2]
_AT_ONCE = asyncio.Semaphore(4)  # each may take a core and half a gigabyte; others wait their turn
_STARTS_WITHIN = 30.0  # seconds, the loading of all parsers included
_TRIES = 2  # the examiner may have been killed since it was last asked


async def said_by(
    program: str, data: bytes, limits: Limits, *arguments: str, loads: str = ""
) -> bytes:
    """Return everything that the program answered about the file; cut short when it was ended.

    The module ``loads`` is there before the file is: a confined process can load nothing.
    """
    order = {"program": program, "limits": asdict(limits), "arguments": arguments, "loads": loads}
    async with _turn(limits.wall_seconds):
        return await _said_by(json.dumps(order).encode(), data, limits.wall_seconds)


@asynccontextmanager
async def _turn(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            await _AT_ONCE.acquire()
    except TimeoutError:
        raise Unavailable("many files are being examined; try again later") from None
    try:
        yield
    finally:
        _AT_ONCE.release()


async def _said_by(order: bytes, data: bytes, seconds: float) -> bytes:
    # Files, not pipes: what is said is limited in size too, whatever takes hold of the process.
    with tempfile.TemporaryFile() as said, os.fdopen(os.memfd_create("file"), "w+b", 0) as given:
        given.write(data)
        given.seek(0)
        # Copies, which the thread closes: whoever waits for it may be cancelled before it is done.
        copies = os.dup(given.fileno()), os.dup(said.fileno())
        beginning = asyncio.create_task(asyncio.to_thread(_examiner.look, order, *copies))
        try:
            async with asyncio.timeout(seconds):
                await _end_of(await asyncio.shield(beginning))
        except TimeoutError:
            raise Unavailable("the file could not be examined in time; try again later") from None
        finally:
            await _gone(await beginning)
        said.seek(0)
        return said.read()


async def _end_of(process: int) -> None:
    """Wait until the process of the pidfd has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process)


async def _gone(process: int) -> None:
    """Nothing is left of the process of the pidfd, which is closed."""
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        await _end_of(process)
    except ProcessLookupError:
        return
    finally:
        os.close(process)


class _Examiner:
    """The process that forks for each file; started by the first, and anew when it has ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, order: bytes, given: int, said: int) -> int:
        """Return the pidfd of a process that looks at the file; both descriptors are closed."""
        try:
            with self._turn:
                return self._begun(order, given, said)
        finally:
            os.close(given)
            os.close(said)

    def _begun(self, order: bytes, given: int, said: int) -> int:
        for _ in range(_TRIES):
            line = self._line or self._started()
            try:
                socket.send_fds(line, [order], [given, said])
                _, (process, *_), _, _ = socket.recv_fds(line, 16, 1)
            except (OSError, ValueError):  # it is gone: no answer, or one without a process
                self.end()
            else:
                return int(process)
        msg = "the examiner of documents does not start"
        raise RuntimeError(msg)

    def _started(self) -> socket.socket:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(_STARTS_WITHIN)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (a program of ours)
                [
                    *(sys.executable, "-E", "-s", "-m", "cardflow.documents.examiner"),
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
                env={},
            )
        return self._line

    def end(self) -> None:
        """Leave nothing of it."""
        if self._line and self._process:
            self._line.close()
            self._process.kill()
            self._process.wait()
        self._line = self._process = None


_examiner = _Examiner()
atexit.register(_examiner.end)
