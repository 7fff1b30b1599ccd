"""Where the server connects to by itself, and where it never does.

What is looked at is the address that is then connected to, so a name that answers differently a
moment later (DNS rebinding) gains nothing, and neither does another way of writing an address.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from cardflow.environment import Environment
from cardflow.errors import Refused, Unavailable
from cardflow.settings import Settings

CONNECT_SECONDS = 10.0
PORTS = {"http": 80, "https": 443}
THIS_NETWORK = ip_network("0.0.0.0/8")  # RFC 1122 3.2.1.3; Linux takes 0.0.0.0 for itself
TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: every IPv4 address behind NAT64
# Where clouds give credentials to whoever asks, besides the link-local 169.254.169.254.
CLOUD_METADATA = frozenset(
    map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that the system's resolver has for ``host``."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"the address of {host} is not known; try again later") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Outbound:
    """What may be connected to: everything but this machine, its link, and cloud metadata.

    ``named`` are services, host and port, that an administrator allows all the same.
    """

    named: frozenset[tuple[str, int]] = frozenset()
    loopback: bool = False
    resolve: Resolve = resolve

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a service; one that is not allowed refuses all of them."""
        found = await self.resolve(host, port)
        for text in found:
            if why := self.objection(host, port, ip_address(text)):
                raise Refused(f"{host}:{port} is not connected to: it is {why}")
        return found

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection to a service, by the first of its addresses that answers."""
        failed: OSError | None = None
        for address in await self.addresses(host, port):
            try:
                return await _connected(address, port)
            except OSError as error:
                failed = error
        raise failed or OSError(f"{host} has no address")

    def objection(self, host: str, port: int, address: Address) -> str:
        """Return why a service must not be connected to at this address; empty: it may."""
        if (host.lower(), port) in self.named or (self.loopback and _is_loopback(address)):
            return ""
        return objection_to(address)


def outbound(settings: Settings) -> Outbound:
    """Return what this installation may connect to; the demo has its services beside it."""
    pairs = [one.strip().rpartition(":") for one in settings.local_services.split(",") if one]
    named = frozenset((host.strip("[]").lower(), int(port)) for host, _, port in pairs)
    return Outbound(named, loopback=settings.environment is Environment.DEMO)


def objection_to(address: Address) -> str:
    """Return why an address must not be connected to; empty: it may."""
    for one in _meant(address):
        if one in CLOUD_METADATA:
            return "a cloud's metadata service"
        if one.is_loopback:
            return "this machine itself"
        if one.is_link_local:
            return "link-local, where clouds keep their metadata"
        if one.is_unspecified or one in THIS_NETWORK or one.is_multicast or one.is_reserved:
            return "not the address of one machine"
    return ""


def _is_loopback(address: Address) -> bool:
    return all(one.is_loopback for one in _meant(address))


def _meant(address: Address) -> tuple[Address, ...]:
    """Return where a connection would really go, tunnels and translations included."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address in TRANSLATED:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour:  # RFC 3056 2
        return (address, address.sixtofour)
    if address.teredo:  # RFC 4380 4
        return (address, *address.teredo)
    return (address,)


async def _connected(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With its protocol's name, by which asyncio knows that small messages must not wait (Nagle).
    connection = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    connection.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection
