"""A virus scanner's word counts, and where one is set up nothing is taken without it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cardflow.documents.intake import inspect_upload
from cardflow.documents.scanner import Scanner, is_answering, refuse_infected
from cardflow.errors import Refused, Unavailable
from cardflow.outbound import Outbound
from cli.ports import free_ports
from tests.documents.build import AWAITED, KEY, changed, form
from tests.documents.test_intake import LIMITS
from tests.waiting import until

# Known to the scanner of these tests and to no other.
HARMFUL = b"CARDFLOW-TESTS-OWN-" + b"SIGNATURE"
MOST = 1024 * 1024


def at(address: str) -> Scanner:
    """Return the scanner there, where this machine's own services may be asked."""
    return Scanner(address, Outbound(loopback=True).connect)


@dataclass(frozen=True)
class Clamd:
    """A real scanner, on a socket and on a port."""

    socket: Scanner
    port: Scanner


@pytest.fixture(scope="module")
async def clamd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clamd]:
    """Yield Debian's clamd with one signature."""
    directory = tmp_path_factory.mktemp("clamd")
    (port,) = free_ports(1)
    running = Clamd(at(str(directory / "socket")), at(f"127.0.0.1:{port}"))
    (directory / "own.ndb").write_text(f"Cardflow.Test:0:*:{HARMFUL.hex()}\n")
    settings = {
        "DatabaseDirectory": directory,
        "LocalSocket": running.socket.address,
        "TCPAddr": "127.0.0.1",
        "TCPSocket": port,
        "StreamMaxLength": MOST,
        "Foreground": "yes",
    }
    conf = directory / "clamd.conf"
    conf.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    process = await asyncio.create_subprocess_exec(
        _program(), "-c", conf, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _is_there(running), what="the virus scanner's start")
        yield running
    finally:
        process.terminate()
        await process.wait()


def _program() -> str:
    return shutil.which("clamd", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "clamd"


async def _is_there(clamd: Clamd) -> bool:
    return Path(clamd.socket.address).exists() and await is_answering(clamd.socket)


@pytest.mark.openssl
async def test_a_clean_file_is_taken_over_socket_and_port(clamd: Clamd) -> None:
    await refuse_infected(form(), clamd.socket)
    await refuse_infected(form(), clamd.port)


@pytest.mark.openssl
async def test_what_the_scanner_finds_is_refused_before_it_is_parsed(clamd: Clamd) -> None:
    for data in (HARMFUL, form() + HARMFUL, changed(_marked)):
        with pytest.raises(Refused, match=r"takes the file for harmful \(Cardflow.Test"):
            await inspect_upload(
                data, expected=AWAITED, qr_keys=[KEY], limits=LIMITS, scanner=clamd.socket
            )


def _marked(pdf: object) -> None:
    pdf.Root.X = pdf.make_stream(HARMFUL)  # type: ignore[attr-defined]


@pytest.mark.openssl
async def test_a_file_that_the_scanner_does_not_take_is_not_taken(clamd: Clamd) -> None:
    with pytest.raises(Unavailable, match="StreamMaxLength"):
        await refuse_infected(bytes(3 * MOST), clamd.socket)


async def test_without_an_answer_nothing_is_taken(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    for address in (f"127.0.0.1:{nobody}", str(tmp_path / "socket")):
        with pytest.raises(Unavailable, match="does not answer"):
            await inspect_upload(
                form(), expected=AWAITED, qr_keys=[KEY], limits=LIMITS, scanner=at(address)
            )


@asynccontextmanager
async def answering(*words: bytes):
    """Yield a scanner that says these words and hangs up, or never says anything."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in words:
            writer.write(word)
        if not words:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield at(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize(
    "words",
    [b"", b"\0", b"stream: OK", b"HTTP/1.1 200 OK\r\n\r\n\0", b"x" * 100_000, b"stream: ERROR\0"],
)
async def test_another_answer_than_a_scanners_is_none(words: bytes) -> None:
    async with answering(words) as scanner:
        with pytest.raises(Unavailable, match="so nothing is taken"):
            await refuse_infected(form(), scanner)


async def test_a_scanner_that_never_answers_holds_nobody_up_for_ever() -> None:
    async with answering() as scanner:
        with pytest.raises(Unavailable, match="does not answer"):
            await refuse_infected(form(), scanner, seconds=0.2)


@pytest.mark.openssl
async def test_a_scanner_whose_name_leads_to_this_machine_is_not_asked(
    clamd: Clamd, caplog: pytest.LogCaptureFixture
) -> None:
    """The name is harmless; what it leads to at the moment of connecting is not."""

    async def rebound(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    port = int(clamd.port.address.rpartition(":")[2])
    allowed = frozenset({("scan.example", port)})
    named = Scanner(f"scan.example:{port}", Outbound(allowed, resolve=rebound).connect)
    await refuse_infected(form(), named)  # so it is there to be asked

    with pytest.raises(Unavailable, match="does not answer"):
        await refuse_infected(form(), replace(named, connect=Outbound(resolve=rebound).connect))
    assert f"scan.example:{port} is not connected to: it is this machine itself" in caplog.text
