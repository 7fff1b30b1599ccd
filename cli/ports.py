"""Ports on loopback that nobody listens on."""

import secrets
import socket
from contextlib import suppress

# Below those that the system gives to outgoing connections: a port that was asked for, or
# whose server starts again, could be anybody's otherwise.
FIRST, LAST = 15_000, 32_000
_given: set[int] = set()


def free_ports(number: int) -> list[int]:
    """Return that many different free ports, none of which this process has asked for before."""
    found: list[int] = []
    while len(found) < number:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
