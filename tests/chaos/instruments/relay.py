"""A mail relay that misbehaves once, at one point of its talk (RFC 5321), and then no more.

``taken`` is what the relay has: the truth that an oracle compares with what the product believes.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy

POINTS = ("banner", "EHLO", "MAIL", "RCPT", "DATA", "content", "QUIT")
GOOD = {
    "banner": b"220 relay.example ESMTP\r\n",
    "EHLO": b"250-relay.example\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 bye\r\n",
}
OK = b"250 OK\r\n"


@dataclass(frozen=True)
class Misdeed:
    """What the relay does at a point, instead of its answer or around it.

    drop, reset   the connection ends, the second one by RST
    taken, lost   the mail is kept first; then drop, or reset
    hang          no answer ever comes
    trickle       the answer comes byte by byte
    garbage       the answer is no SMTP
    twice         the answer comes twice
    endless       the answer has always one more line
    else          a reply, given once; with "421" the connection ends after it
    """

    point: str
    what: str
    nth: int = 1  # of the mails of a delivery

    @property
    def name(self) -> str:
        return f"{self.what} at {self.point} of mail {self.nth}"


@dataclass
class Relay:
    """A relay on loopback."""

    misdeed: Misdeed | None = None
    port: int = 0
    taken: list[str] = field(default_factory=list)  # Message-IDs, in order
    mails_begun: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with one client; each connection counts its mails anew."""
        self.mails_begun = 0
        try:
            if not await self._answer("banner", writer):
                return
            while line := await reader.readline():
                point = line.split()[0].decode().upper()
                self.mails_begun += point == "MAIL"
                if not await self._answer(point, writer):
                    return
                if point == "DATA" and not await self._content(reader, writer):
                    return
                if point == "QUIT":
                    return
        except (ConnectionError, IndexError):
            pass
        finally:
            writer.close()

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        content = await reader.readuntil(b"\r\n.\r\n")
        message = message_from_bytes(content, policy=policy.default)
        misdeed = self._due("content")
        if misdeed in ("", "taken", "lost", "trickle", "twice", "hang", "endless", "garbage"):
            self.taken.append(message["Message-ID"])
        return await self._answer("content", writer)

    def _due(self, point: str) -> str:
        deed = self.misdeed
        if deed is None or deed.point != point:
            return ""
        is_meant = point in ("banner", "EHLO", "QUIT") or self.mails_begun == deed.nth
        return deed.what if is_meant else ""

    async def _answer(self, point: str, writer: asyncio.StreamWriter) -> bool:
        """Answer, in one way or another; tell whether the talk goes on."""
        what, answer = self._due(point), GOOD.get(point, OK)
        if not what:
            writer.write(answer)
            return True
        self.misdeed = None
        if what == "endless":
            while True:
                writer.write(b"250-and more\r\n" * 100)
                await writer.drain()
        return await _misanswer(what, answer, writer)


async def _misanswer(what: str, answer: bytes, writer: asyncio.StreamWriter) -> bool:
    match what:
        case "drop" | "taken":
            return False
        case "reset" | "lost":
            _reset(writer)
            return False
        case "hang":
            await asyncio.Event().wait()
        case "trickle":
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
        case "garbage":
            writer.write(b"\xff\x00 this is no SMTP \xc3\r\n")
        case "twice":
            writer.write(answer + answer)
        case reply:
            writer.write(f"{reply} so it is\r\n".encode())
            return not reply.startswith("421")
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[Relay]:
    """Yield the relay, listening on a free port."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        talks.add(task)
        try:
            await relay.serve(reader, writer)
        finally:
            talks.discard(task)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=2**20)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
