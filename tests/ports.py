"""Ports on loopback that nobody listens on."""

import socket


def free_ports(number: int) -> list[int]:
    """Return that many different free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
