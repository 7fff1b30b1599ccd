"""The virus scanner that an installation may have: clamd, asked in its own words (clamd(8)).

Where one is set up, nothing is kept that it did not look at: no answer is a no for now.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cardflow.errors import CardflowError, Refused, Unavailable

_SECONDS = 30.0
_PIECE = 64 * 1024
_LENGTH = 4  # bytes that say how long a piece is; a piece of no length ends the file
_LONGEST_ANSWER = 4096
_TOO_LARGE = "INSTREAM size limit exceeded"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scanner:
    """Where the scanner is, ``host:port`` or the path of a socket, and what connects to a host."""

    address: str
    connect: Callable[[str, int], Awaitable[socket.socket]]


async def refuse_infected(data: bytes, scanner: Scanner, *, seconds: float = _SECONDS) -> None:
    """Return if the scanner finds nothing in the file; refuse it otherwise."""
    try:
        async with asyncio.timeout(seconds):
            answer = await _asked(scanner, data)
    except CardflowError as error:  # it is nowhere that we go to: not the uploader's fault
        log.warning("the virus scanner is not asked: %s", error)
        answer = ""
    except (ConnectionResetError, BrokenPipeError):
        answer = _TOO_LARGE  # it hangs up on what it does not want to read to the end
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        answer = ""
    if not answer.endswith(": OK"):
        raise _no(answer)


def _no(answer: str) -> CardflowError:
    if answer.endswith(" FOUND"):
        name = answer.partition(": ")[2].removesuffix(" FOUND")
        return Refused(
            f"the virus scanner takes the file for harmful ({name}); scan the paper and upload that"
        )
    if answer.startswith(_TOO_LARGE):
        return Unavailable(
            "the virus scanner broke off, so nothing is taken; if this goes on, have"
            " StreamMaxLength raised in clamd.conf"
        )
    return Unavailable("the virus scanner does not answer, so nothing is taken; try again later")


async def is_answering(scanner: Scanner) -> bool:
    """Tell whether what listens there is a virus scanner."""
    async with connection(scanner) as (reader, writer):
        writer.write(b"zPING\0")
        return await reader.readuntil(b"\0") == b"PONG\0"


@asynccontextmanager
async def connection(
    scanner: Scanner,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection: to a socket, or to an address that was looked at."""
    if scanner.address.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(scanner.address, limit=_LONGEST_ANSWER)
    else:
        host, _, port = scanner.address.rpartition(":")
        connected = await scanner.connect(host.strip("[]"), int(port))
        reader, writer = await asyncio.open_connection(sock=connected, limit=_LONGEST_ANSWER)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _asked(scanner: Scanner, data: bytes) -> str:
    async with connection(scanner) as (reader, writer):
        sending = asyncio.create_task(_send(writer, data))
        try:
            # It may answer before it has everything, and then it reads no more.
            answer = await reader.readuntil(b"\0")
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return answer.rstrip(b"\0").decode("utf-8", "replace")


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"zINSTREAM\0")
    for piece in _pieces(data):
        writer.write(len(piece).to_bytes(_LENGTH, "big") + piece)
        await writer.drain()


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]
    yield b""
