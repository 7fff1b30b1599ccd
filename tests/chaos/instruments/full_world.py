"""A world whose register, CA and documents lie on a small disk that fills up while updates go on.

Run in a mount namespace of its own with a directory as its only argument, as ``full_disk.py``.
SQLite's database and the document store are on the small file system; tokens are not (SoftHSM does
not notice a full disk), nor are Temporal's own files and the logs. Prints one JSON object: for each
case nothing, or what was found.
"""

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.instruments.full_disk import Disk, mount
from tests.chaos.world import world

if TYPE_CHECKING:
    from tests.chaos.case import Case

SIZE, DATABASE = "24m", "cardflow.db"
FULL_SECONDS, TRIES = 3.0, 50
FROM_THE_START = ""
SIGNS = ("No space left", "disk is full", "-> 503")  # of somebody who found no room
# Under which policy, and at which stage of its lane the disk is full.
CASES = {
    "before anything is kept": ("none", FROM_THE_START),
    "with a visit under way": ("none", "preparing"),
    "while a scan is uploaded": ("portal", "awaiting_request_form"),
    "while a scan is judged": ("portal", "checking_request_form"),
    "while an officer decides": ("officer", "at_ca"),
    "while a form is out": ("F", "awaiting_certificate_form"),
    "before the second visit": ("RF", "ready"),
}


def fill(disk: Disk) -> None:
    """Leave no room on the disk, and none in the log that SQLite has: its next write finds none."""
    database = disk.directory / DATABASE
    log = database.with_name(f"{DATABASE}-wal")
    for _ in range(TRIES):
        with closing(sqlite3.connect(database, timeout=10)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            disk.fill()
        if not log.exists() or not log.stat().st_size:  # else somebody was faster
            return
        disk.free()
    raise AssertionError("somebody always writes")


async def full_for_a_while(disk: Disk) -> None:
    """There is no room, and then there is."""
    try:
        await asyncio.to_thread(fill, disk)
        await asyncio.sleep(FULL_SECONDS)
    finally:
        disk.free()


async def updated(case: "Case", disk: Disk, policy: str, stage: str) -> None:
    """Take an update to its end; the disk is full from the stage on, for a while."""
    full = asyncio.create_task(full_for_a_while(disk)) if stage == FROM_THE_START else None
    update_id = await case.open(policy)
    if full is None:
        await case.finish(update_id, until=stage)
        full = asyncio.create_task(full_for_a_while(disk))
    await case.finish(update_id)
    await full


async def main(directory: Path) -> dict[str, str]:
    """Return what was found in each case."""
    small, found = directory / "small", {}
    disk = Disk(small)
    url = f"sqlite+aiosqlite:///{small / DATABASE}"
    settings = f'document_dir = "{small / "documents"}"\n'
    async with world(directory, desks=1, database_url=url, more_settings=settings) as here:
        for number, (name, (policy, stage)) in enumerate(CASES.items()):
            since, found[name] = time.time(), ""
            try:
                async with here.case(f"a full disk {name}", seed=number) as case:
                    await updated(case, disk, policy, stage)
            except AssertionError as broken:
                found[name] = str(broken)
            log = here.merged_log(since)
            if not any(sign in log for sign in SIGNS):
                found[name] += "; nobody met the full disk"
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "small").mkdir()
    mount(place / "small", SIZE)
    sys.stdout.write(json.dumps(asyncio.run(main(place))))
