"""Asking the zygote for a process: from the tests, and from an agent for its children."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.children import Child
from agent.messages import LONGEST_LINE, line

LONGEST_ORDER = 65536
PASSED_ON = ("SOFTHSM2_CONF", "TMPDIR")


def forked(
    path: Path,
    program: str,
    descriptors: Sequence[int],
    *,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> int:
    """Return the process id of the program, which runs by now."""
    order = {"program": program, "arguments": list(arguments), "environment": environment or {}}
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        socket.send_fds(asking, [json.dumps(order).encode()], list(descriptors))
        return int(json.loads(asking.recv(100)))


def ordered(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return an order and its descriptors."""
    message, descriptors, _, _ = socket.recv_fds(asking, LONGEST_ORDER, 4)
    return json.loads(message), list(descriptors)


def is_alive(pid: int) -> bool:
    """Tell whether a thread of the process is left, which holds its sockets open."""
    return not states(pid) <= {"Z", "X"}


def states(pid: int) -> set[str]:
    """Return the states of the process's threads, none when it is gone."""
    threads, found = Path(f"/proc/{pid}/task"), set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(threads):
            with suppress(FileNotFoundError, ProcessLookupError):
                found.add((threads / thread / "stat").read_text().rpartition(")")[2].split()[0])
    return found


class Forked:
    """A child of the zygote's, as an agent sees a child of its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        return None if is_alive(self.pid) else -signal.SIGKILL

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Return when it has ended."""
        while is_alive(self.pid):  # noqa: ASYNC110 (nobody tells us: it is not our child)
            await asyncio.sleep(0.005)
        return 0


def child_from(path: Path) -> Any:
    """Return what starts an agent's children, in the place of ``Child.start``."""

    async def start(module: str, first_message: Any) -> Child:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}  # noqa: TID251
        with theirs:
            pid = forked(path, module, (2, theirs.fileno()), environment=environment)
        reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        writer.write(line(first_message))
        return Child(Forked(pid), reader, writer)  # type: ignore[arg-type]

    return staticmethod(start)
