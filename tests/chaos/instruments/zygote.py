"""The agent's helper processes as forks of one that has loaded the code, and no PKCS#11 module.

A visit costs 10 ms instead of the 200 ms that Python needs to start. Each fork is one process with
one thread and one module, as in the product.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

LOADED = ("agent.visit", "agent.inspector", "tests.chaos.instruments.looking", "pyhanko.sign")
ROOT = Path(__file__).resolve().parents[3]


class Zygote:
    """Makes helper processes; ended by ``close``."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, part: str, environment: dict[str, str], first_message: Any = None) -> "Line":
        """Return the line to a new process that serves as ``part``."""
        line = Line(self.process(part, environment)[0])
        if first_message is not None:
            line.send(first_message)
        return line

    def process(self, part: str, environment: dict[str, str]) -> tuple[socket.socket, int]:
        """Return our end of the line to such a process, and its id."""
        ours, theirs = socket.socketpair()
        with theirs:
            order = json.dumps({"part": part, "environment": environment}).encode()
            socket.send_fds(self._line, [order], [theirs.fileno()])
        return ours, int(self._line.recv(32))

    def close(self) -> None:
        """End the zygote; its forks end when their lines do."""
        self._line.close()
        self._process.wait(60)


class Line:
    """The agent's end of the line to a helper process."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        self._connection = connection
        self._lines = connection.makefile("rb")

    def send(self, message: Any) -> None:
        """Send one message; a process that is gone does not hear it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Any:
        """Return the next message, or None from a process that is gone."""
        with suppress(ConnectionResetError):
            text = self._lines.readline()
            return json.loads(text) if text.endswith(b"\n") else None

    def close(self) -> None:
        """Close the line, and return when the process at its other end is gone."""
        self._connection.shutdown(socket.SHUT_WR)
        while self.receive() is not None:
            pass
        self._lines.close()
        self._connection.close()


def serve(part: str, connection: socket.socket) -> None:
    """Be the helper, to the end of its life."""
    from agent import inspector, visit
    from agent.memory import leave_no_dump
    from agent.messages import Channel
    from tests.chaos.instruments import looking

    leave_no_dump()
    parts = {"visit": visit.serve, "inspector": inspector.serve, "look": looking.serve}
    with suppress(BrokenPipeError, ConnectionResetError):
        parts[part](Channel(connection))


def main() -> None:
    """Fork for each order that comes down the line whose descriptor is the only argument."""
    for name in LOADED:
        importlib.import_module(name)
    line = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        text, descriptors, _, _ = socket.recv_fds(line, 65536, 1)
        if not text:
            return
        _bury()
        if (pid := os.fork()) == 0:
            line.close()
            order = json.loads(text)
            os.environ.update(order["environment"])  # noqa: TID251 (where modules look)
            with socket.socket(fileno=descriptors[0]) as connection:
                serve(order["part"], connection)
            os._exit(0)
        os.close(descriptors[0])
        line.send(str(pid).encode())


def _bury() -> None:
    """Take note of the forks that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
