"""What the product does on a disk of 4 MiB that fills up, each scenario with what came of it.

Run in a mount namespace of its own with a directory as its only argument; the small file system
is mounted there, and gone with the process. Prints one JSON object.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from agent.journal import Journal
from cardflow.db import audit
from cardflow.documents.store import FileStore
from cardflow.errors import Unavailable
from cardflow.sql import create_engine, sessions_of, transaction

LIMIT = 2**20
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Disk:
    """The small disk, and what else lies on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self, *, but: int = 0) -> None:
        """Leave ``but`` bytes of room."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        with self._ballast.open("r+b") as file:
            file.truncate(max(0, self._ballast.stat().st_size - but))

    def free(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)


async def documents(disk: Disk, room: int) -> dict[str, Any]:
    """A document comes when there is room for ``room`` bytes of it."""
    folder = disk.directory / f"documents-{room}"
    store = FileStore(folder)
    before = await store.put(b"the first one", limit=LIMIT)
    disk.fill(but=room)
    document = bytes(range(256)) * 400
    told = ""
    try:
        await store.put(document, limit=LIMIT)
    except Unavailable as unavailable:
        told = str(unavailable)
    files = [path.name for path in folder.rglob("*") if path.is_file()]
    disk.free()
    after = await store.put(document, limit=LIMIT)
    return {
        "told": told,
        "files": files == [before.sha256],
        "kept": await store.get(before.sha256) == b"the first one",
        "later": await store.get(after.sha256) == document,
    }


async def database(disk: Disk, room: int) -> dict[str, Any]:
    """Entries of the audit trail are written until the disk is full."""
    path = disk.directory / f"cardflow-{room}.db"
    path.write_bytes((disk.directory / "empty.db").read_bytes())
    engine = create_engine(f"sqlite+aiosqlite:///{path}")
    sessions = sessions_of(engine)
    acknowledged, told = 0, ""
    await _append(sessions, "first")
    disk.fill(but=room)
    try:
        for _ in range(400):
            await _append(sessions, "x" * 2000)
            acknowledged += 1
    except (OperationalError, Unavailable) as error:  # of a statement, of the commit
        told = str(error.__cause__)
    disk.free()
    await _append(sessions, "last")
    async with transaction(sessions) as session:
        result = await audit.verify(session)
    await engine.dispose()
    path.unlink()
    return {"told": told, "ok": result.ok, "entries": result.entries == acknowledged + 2}


async def _append(sessions: Any, text: str) -> None:
    async with transaction(sessions) as session:
        await audit.append(session, audit.Entry("signed_in", NOW, facts={"text": text}))


async def journal(disk: Disk, room: int) -> dict[str, Any]:
    """The agent's journal is written when there is room for ``room`` bytes of a line."""
    path = disk.directory / f"journal-{room}"
    kept = Journal(path)
    kept.keep_csr("aa", "11", "first" * 700)
    disk.fill(but=room)
    told = ""
    try:
        kept.keep_csr("bb", "22", "second" * 900)
    except OSError as error:
        told = str(error)
    torn = kept.csr("bb", "22")
    disk.free()
    kept.keep_csr("bb", "22", "again")
    return {
        "told": told,
        "torn": torn,
        "first": kept.csr("aa", "11") == "first" * 700,
        "again": kept.csr("bb", "22"),
    }


SCENARIOS: dict[str, tuple[Callable[[Disk, int], Awaitable[dict[str, Any]]], tuple[int, ...]]] = {
    "documents": (documents, (0, 4096, 8192, 65536)),
    "database": (database, (0, 4096, 32768, 131072)),
    "journal": (journal, (0, 4096)),
}


async def main(directory: Path, empty_database: bytes) -> dict[str, Any]:
    """Return what came of each scenario with each room."""
    disk = Disk(directory)
    (directory / "empty.db").write_bytes(empty_database)
    return {
        f"{name} {room}": await scenario(disk, room)
        for name, (scenario, rooms) in SCENARIOS.items()
        for room in rooms
    }


def mount(directory: Path, size: str = "4m") -> None:
    """Have the small file system at the directory."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(directory)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    mount(Path(sys.argv[1]))
    found = asyncio.run(main(Path(sys.argv[1]), sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps(found))
