"""A TCP proxy between two parties, with one fault on order: what a network does, without a network.

The fault meets the first connection that carries enough bytes in its direction once it was ordered.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 65536
TCP_ESTABLISHED = 1  # linux/tcp_states.h
UP, DOWN = "up", "down"  # from the client to the server, and back


@dataclass(frozen=True)
class Fault:
    """What happens to the bytes of one direction.

    delay      they are held back for ``seconds``
    black hole nothing passes any more, in both directions, for ``seconds``; then a reset
    silence    nothing passes any more and nobody is told, until the client gives up by itself
    reset      both sides get an RST instead of the bytes
    truncate   half of the bytes pass, then the connection ends as if the sender had closed it
    duplicate  the bytes pass twice; ``seconds`` later both sides get an RST, as TLS would have it:
               HTTP/2 in clear does not notice, and its header tables stay wrong (RFC 7541 2.2)
    """

    kind: str
    way: str = UP
    after_bytes: int = 0  # so many have passed since the fault was ordered
    seconds: float = 0.3

    @property
    def name(self) -> str:
        place = f" after {self.after_bytes} bytes" if self.after_bytes else ""
        return f"{self.kind} {self.way}{place}"


@dataclass
class Proxy:
    """Listens on ``port`` and speaks with ``target``."""

    target: tuple[str, int]
    port: int = 0
    happened: int = 0  # faults so far
    given_up: int = 0  # connections that their client closed in a silence
    fault: Fault | None = None  # that is still to happen
    _passed: dict[str, int] = field(default_factory=dict)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _silenced: set[asyncio.StreamWriter] = field(default_factory=set)
    _talks: set["asyncio.Task[None]"] = field(default_factory=set)

    def order(self, fault: Fault) -> None:
        """The fault is to happen once."""
        self.fault, self._passed = fault, {UP: 0, DOWN: 0}

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._open):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one client with the target until either is gone."""
        try:
            theirs, ours = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        pair = (writer, ours)
        self._open |= set(pair)
        ways = [self._pass(UP, reader, ours, pair), self._pass(DOWN, theirs, writer, pair)]
        try:
            await asyncio.gather(*ways)
        finally:
            self._open -= set(pair)
            for one in pair:
                one.close()

    async def _pass(
        self,
        way: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with suppress(ConnectionError, RuntimeError):
            while chunk := await reader.read(CHUNK):
                if writer in self._silenced:
                    continue
                if (fault := self._due(way, len(chunk))) is None:
                    writer.write(chunk)
                elif not await self._carry_out(fault, chunk, writer, pair):
                    return
                await writer.drain()
        with suppress(OSError, RuntimeError):
            if writer not in self._silenced and writer.can_write_eof():
                writer.write_eof()

    def _due(self, way: str, length: int) -> Fault | None:
        fault = self.fault
        if fault is None or fault.way != way:
            return None
        self._passed[way] += length
        if self._passed[way] <= fault.after_bytes:
            return None
        self.fault = None
        self.happened += 1
        return fault

    async def _carry_out(
        self,
        fault: Fault,
        chunk: bytes,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> bool:
        """Do what the fault says; tell whether the connection goes on."""
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
                writer.write(chunk)
                return True
            case "duplicate":
                writer.write(chunk + chunk)
                asyncio.get_running_loop().call_later(fault.seconds, _reset_both, pair)
                return True
            case "truncate":
                writer.write(chunk[: len(chunk) // 2])
                await writer.drain()
                for one in pair:
                    one.close()
            case "black hole":
                for one in pair:
                    one.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(fault.seconds)
                _reset_both(pair)
            case "silence":
                await self._until_given_up(pair)
            case "reset":
                _reset_both(pair)
        return False

    async def _until_given_up(
        self, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        """Swallow all that comes until the client has closed its side; the server learns of that.

        What the client says to find out whether somebody is there is taken, and never answered.
        """
        client, server = pair
        self._silenced |= set(pair)
        try:
            while not _is_closed(client):  # noqa: ASYNC110 (nobody tells us: we read nothing)
                await asyncio.sleep(0.05)
        finally:
            self._silenced -= set(pair)
        self.given_up += 1
        for one in (client, server):
            one.close()


def _is_closed(writer: asyncio.StreamWriter) -> bool:
    """Tell whether the other side has closed the connection, by a FIN or otherwise."""
    connection = writer.get_extra_info("socket")
    if writer.is_closing() or connection is None or connection.fileno() < 0:
        return True
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != TCP_ESTABLISHED


def _reset_both(pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
    for one in pair:
        _reset(one)


def _reset(writer: asyncio.StreamWriter) -> None:
    if (connection := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@asynccontextmanager
async def before(target: tuple[str, int], port: int = 0) -> AsyncIterator[Proxy]:
    """Yield a proxy before ``target``, on loopback; without a port, on a free one."""
    proxy = Proxy(target)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        proxy._talks.add(task)
        try:
            await proxy.serve(reader, writer)
        finally:
            proxy._talks.discard(task)

    server = await asyncio.start_server(talk, "127.0.0.1", port)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for task in list(proxy._talks):
            task.cancel()
        await asyncio.gather(*proxy._talks, return_exceptions=True)
