"""Runs a program of ``cardflow.documents.examiner`` on one file, and lets it take only so much."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from cardflow.documents.examiner import Limits
from cardflow.errors import Unavailable

_ROOT = Path(__file__).parents[2]
_AT_ONCE = asyncio.Semaphore(4)  # each may take a core and half a gigabyte; others wait their turn


async def said_by(program: str, data: bytes, limits: Limits, *arguments: str) -> bytes:
    """Return everything that the program answered about the file; cut short when it was ended."""
    async with _turn(limits.wall_seconds):
        return await _said_by(program, data, limits, *arguments)


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


async def _said_by(program: str, data: bytes, limits: Limits, *arguments: str) -> bytes:
    # A file, not a pipe: its size is limited too, whatever takes hold of the process.
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-E", "-s", "-m", program),
            json.dumps(asdict(limits)),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=said,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=_ROOT,
            env={},
        )
        try:
            async with asyncio.timeout(limits.wall_seconds):
                await process.communicate(data)
        except TimeoutError:
            raise Unavailable("the file could not be examined in time; try again later") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said.seek(0)
        return said.read()
