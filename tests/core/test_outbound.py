"""What the server connects to by itself: a table of ways to make it reach what it must not.

Every refusal is beside a listener that a permitted request does reach, so silence proves something.
"""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cardflow.errors import Refused, Unavailable
from cardflow.outbound import Outbound, objection_to, outbound
from cardflow.outbound_http import Barred, http_client
from cardflow.settings import Settings
from tests.activities.tls import garble, server_context

HERE = "127.0.0.1"
MACHINE, LINK, CLOUD, NO_ONE = (
    "this machine itself", "link-local", "metadata", "not the address of one machine",
)  # fmt: skip

# What is written as the host, why it is a way in, and what is said of it.
HOSTS = [
    ("127.0.0.1", "RFC 1122: loopback", MACHINE),
    ("127.8.9.10", "RFC 1122: all of 127/8", MACHINE),
    ("127.1", "inet_aton: parts left out", MACHINE),
    ("2130706433", "inet_aton: one decimal number", MACHINE),
    ("0x7f000001", "inet_aton: one hexadecimal number", MACHINE),
    ("017700000001", "inet_aton: one octal number", MACHINE),
    ("0x7f.0.0.1", "inet_aton: mixed radices", MACHINE),
    ("localhost", "a name of this machine", MACHINE),
    ("LOCALHOST", "names know no case", MACHINE),
    ("::1", "RFC 4291 2.5.3", MACHINE),
    ("::ffff:127.0.0.1", "RFC 4291 2.5.5.2: IPv4-mapped", MACHINE),
    ("::ffff:7f00:1", "the same, in hexadecimal", MACHINE),
    ("64:ff9b::127.0.0.1", "RFC 6052: NAT64", MACHINE),
    ("2002:7f00:1::", "RFC 3056: 6to4", MACHINE),
    ("2001:0:7f00:1::", "RFC 4380: a Teredo server", MACHINE),
    ("0.0.0.0", "Linux: this machine", NO_ONE),  # noqa: S104 nobody listens there
    ("0", "the same, short", NO_ONE),
    ("::", "the same, IPv6", NO_ONE),
    ("0.0.0.1", "RFC 1122: this network", NO_ONE),
    ("::127.0.0.1", "RFC 4291: IPv4-compatible, deprecated", NO_ONE),
    ("255.255.255.255", "RFC 919: broadcast", NO_ONE),
    ("224.0.0.1", "RFC 5771: multicast", NO_ONE),
    ("ff02::1", "RFC 4291: multicast", NO_ONE),
    ("169.254.169.254", "AWS, Azure, GCP metadata", LINK),
    ("169.254.170.2", "AWS task credentials", LINK),
    ("2852039166", "the same as 169.254.169.254, decimal", LINK),
    ("::ffff:169.254.169.254", "the same, IPv4-mapped", LINK),
    ("64:ff9b::169.254.169.254", "the same, behind NAT64", LINK),
    ("fe80::1", "RFC 4291: link-local", LINK),
    ("fe80::1%lo", "the same, with a zone", LINK),
    ("fd00:ec2::254", "AWS metadata, IPv6", CLOUD),
    ("100.100.100.200", "Alibaba metadata", CLOUD),
    ("168.63.129.16", "Azure's wire server", CLOUD),
    ("192.0.0.192", "Oracle metadata", CLOUD),
]  # fmt: skip
FINE = ["192.0.32.10", "10.1.2.3", "172.16.0.9", "192.168.1.1", "2001:4860:4860::8888", "fd12::1",
        "64:ff9b::192.0.32.10"]  # fmt: skip


@pytest.mark.parametrize(("host", "why", "said"), HOSTS, ids=[why for _, why, _ in HOSTS])
async def test_a_host_that_is_not_another_machine_is_refused(host, why, said):
    with pytest.raises(Refused, match=said):
        await Outbound().connect(host, 80)


@pytest.mark.parametrize("address", FINE)
def test_the_organisations_own_networks_and_the_worlds_are_allowed(address):
    assert objection_to(ip_address(address)) == ""


def answered(*answers: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """Return a resolver that gives these answers, one after the other."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("a public name for 127.0.0.1", ["127.0.0.1"]),
        ("a public name for ::1", ["::1"]),
        ("a public name for the metadata service", ["169.254.169.254"]),
        ("one bad address among good ones", ["192.0.32.10", "127.0.0.1"]),
        ("a bad address of the other family", ["192.0.32.10", "::ffff:169.254.169.254"]),
    ],
)
async def test_a_name_is_judged_by_every_address_it_has(name, addresses):
    with pytest.raises(Refused):
        await Outbound(resolve=answered(addresses)).addresses("rebind.example", 80)


async def test_a_name_that_nobody_knows_is_unavailable():
    with pytest.raises(Unavailable, match=r"nowhere\.invalid is not known"):
        await Outbound().addresses("nowhere.invalid", 80)


@dataclass
class Listener:
    """A web server of a few lines that counts who came, and says what it is told to say."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    came: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def listening(listener: Listener, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield where it listens."""
    server = await asyncio.start_server(listener.serve, HERE, 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://{HERE}:{listener.port}/"


BESIDE = Outbound(loopback=True)


async def get(reach: Outbound, url: str, **options: object) -> httpx2.Response:
    async with http_client(reach, **options) as client:
        return await client.get(url)


async def test_what_is_allowed_is_reached():
    async with listening(one := Listener()) as url:
        assert (await get(BESIDE, url)).text == "hi"
    assert len(one.came) == 1


async def test_a_service_on_this_machine_is_reached_only_when_it_is_named():
    async with listening(one := Listener()) as url:
        with pytest.raises(Barred, match=MACHINE):
            await get(Outbound(), url)
        with pytest.raises(Barred, match=MACHINE):
            await get(Outbound(named=frozenset({(HERE, one.port + 1)})), url)
        assert one.came == []
        assert (await get(Outbound(named=frozenset({(HERE, one.port)})), url)).text == "hi"


def test_only_the_demo_has_its_services_beside_it(tmp_path):
    named = {"local_services": "127.0.0.1:25, [::1]:3310,clam:3310"}
    production = outbound(Settings(state_dir=tmp_path, environment="production", **named))

    assert outbound(Settings(state_dir=tmp_path)).loopback
    assert not production.loopback
    assert production.named == {("127.0.0.1", 25), ("::1", 3310), ("clam", 3310)}


async def test_a_name_that_changes_its_mind_is_connected_to_as_it_was_seen():
    async with listening(one := Listener()):
        seen = Outbound(loopback=True, resolve=answered([HERE], ["169.254.169.254"]))
        answer = await get(seen, f"http://rebind.example:{one.port}/path?query")

    assert answer.text == "hi"
    assert f"Host: rebind.example:{one.port}".lower() in one.came[0].decode().lower()
    assert one.came[0].startswith(b"GET /path?query ")


async def test_the_next_address_is_tried_when_one_does_not_answer():
    async with listening(one := Listener()):
        reach = Outbound(loopback=True, resolve=answered(["127.0.0.9", HERE]))
        assert (await get(reach, f"http://two.example:{one.port}/")).text == "hi"
        (await reach.connect("two.example", one.port)).close()


REDIRECTS = (301, 302, 303, 307, 308)


@pytest.mark.parametrize("status", REDIRECTS)
async def test_no_redirect_is_followed(status):
    async with listening(target := Listener()) as there, listening(one := Listener()) as url:
        one.answer = f"HTTP/1.1 {status} Go\r\nLocation: {there}\r\n\r\n".encode()
        with pytest.raises(Barred, match="redirect"):
            await get(BESIDE, url)
        async with http_client(BESIDE) as client:
            with pytest.raises(Barred, match="redirect"):
                await client.get(url, follow_redirects=True)

    assert len(one.came) == 2
    assert target.came == []


@pytest.mark.parametrize(
    "url",
    ["ftp://files.example/", "file:///etc/passwd", "gopher://x.example/", "//nowhere", "ldap://d/"],
)
async def test_only_http_is_spoken(url):
    with pytest.raises(Barred, match=r"only http and https|is not connected to"):
        await get(BESIDE, url)


async def test_an_address_with_a_name_in_it_is_refused():
    async with listening(one := Listener()):
        with pytest.raises(Barred, match="name or a password"):
            await get(BESIDE, f"http://tsa.example@{HERE}:{one.port}/")
    assert one.came == []


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"Content-Length: 9000\r\n\r\n" + b"x" * 9000, "more than 4096 bytes"),
        (b"\r\n" + b"x" * 9000, "more than 4096 bytes"),
        (b"Transfer-Encoding: chunked\r\n\r\n2000\r\n" + b"x" * 8192, "more than 4096 bytes"),
        (
            b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 1_000_000),
            "an encoding that was not asked for",
        ),
    ],
    ids=["a length that is too long", "no length", "chunks", "a bomb"],
)
async def test_a_large_answer_is_not_read_to_its_end(sent, said):
    async with listening(Listener(b"HTTP/1.1 200 OK\r\n" + sent)) as url:
        with pytest.raises(Barred, match=said):
            await get(BESIDE, url, limit=4096)


@pytest.mark.parametrize(
    ("answer", "drips"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", b""),
    ],
    ids=["nothing", "a head without an end", "a body that does not come"],
)
async def test_a_slow_answer_is_left_when_the_time_is_over(answer, drips):
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + drips)
        await reader.read()  # until the other side has had enough
        writer.close()

    server = await asyncio.start_server(hang, HERE, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx2.TimeoutException):
            await get(BESIDE, f"http://{HERE}:{port}/", seconds=0.3)


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address():
    theirs, ours = server_context(ec.generate_private_key(ec.SECP256R1()))
    async with listening(one := Listener(), theirs):
        reach = Outbound(loopback=True, resolve=answered([HERE]))
        with pytest.raises(httpx2.ConnectError, match=r"certificate|Hostname"):
            await get(reach, f"https://other.example:{one.port}/", tls=ours)
        assert (await get(reach, f"https://{HERE}:{one.port}/", tls=ours)).text == "hi"


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"],
    ids=["instead of the answer", "within the answer"],
)
async def test_a_broken_tls_record_is_told_as_a_network_that_fails(answer):
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        garble(writer)

    theirs, ours = server_context(ec.generate_private_key(ec.SECP256R1()))
    async with await asyncio.start_server(speak, HERE, 0, ssl=theirs) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx2.ReadError, match=r"(?i)decrypt"):
            await get(BESIDE, f"https://{HERE}:{port}/", tls=ours)
