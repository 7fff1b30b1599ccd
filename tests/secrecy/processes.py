"""What the kernel shows of a process: its memory, its environment, its command line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_SPAN = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield all that a process has written to, as the kernel shows it to root.

    What is mapped from a file and cannot be written is the file's own content.
    """
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if (span := _SPAN.match(line)) and _may_hold_secrets(span):
                yield from _read(memory.fileno(), int(span[1], 16), int(span[2], 16))


def _may_hold_secrets(span: re.Match[str]) -> bool:
    rights, inode, name = span[3], span[4], span[5]
    return "r" in rights and ("w" in rights or inode == "0") and not name.startswith("[v")


def _read(memory: int, start: int, end: int) -> Iterator[bytes]:
    try:
        part = os.pread(memory, end - start, start)
    except OSError:
        return
    if part.strip(b"\0"):
        yield part


def tree_of(pid: int) -> list[int]:
    """Return a process and all that it started, as far as they live."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (parent := _parent(directory)):
            children.setdefault(parent, []).append(int(directory.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _parent(directory: Path) -> int:
    try:
        return int((directory / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def told_of(pid: int) -> bytes:
    """Return what other processes may read of this one: command line and environment."""
    try:
        return b"\n".join((Path(f"/proc/{pid}") / n).read_bytes() for n in ("cmdline", "environ"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
