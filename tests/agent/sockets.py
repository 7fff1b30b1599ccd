"""What the kernel's own tables say of a process's sockets (proc(5), /proc/net)."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LISTENS = "0A"  # TCP_LISTEN
ACCEPTS = 0x10000  # __SO_ACCEPTCON, of a socket in the file system or the abstract name space
ANY_PORT = 0


@dataclass(frozen=True)
class Socket:
    """A socket as the kernel knows it; ports are 0 where there is no such thing."""

    table: str
    local: str
    port: int
    remote_port: int
    listens: bool


def family_of(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    family = [pid]
    for member in family:
        with suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            for task in Path(f"/proc/{member}/task").iterdir():
                family += [int(child) for child in (task / "children").read_text().split()]
    return family


def sockets_of(pid: int) -> list[Socket]:
    """Return the network and named sockets that a process holds."""
    mine = _inodes(pid)
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix"):
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            read = _unix if table == "unix" else _inet
            found += [one for line in lines if (one := read(table, line.split(), mine))]
    return found


def _inodes(pid: int) -> set[str]:
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    return found


def _inet(table: str, parts: list[str], mine: set[str]) -> Socket | None:
    if parts[9] not in mine:
        return None
    port, remote = (int(end.rpartition(":")[2], 16) for end in parts[1:3])
    # A datagram socket without a peer takes what anybody sends.
    listens = parts[3] == LISTENS if table.startswith("tcp") else remote == ANY_PORT
    return Socket(table, parts[1], port, remote, listens)


def _unix(table: str, parts: list[str], mine: set[str]) -> Socket | None:
    if parts[6] not in mine:
        return None
    name = parts[7] if len(parts) > 7 else ""
    return Socket(table, name, ANY_PORT, ANY_PORT, bool(int(parts[3], 16) & ACCEPTS))
