"""How long the audit chain takes to be checked: 100,000 entries, from the database to the verdict.

Every entry is read, hashed, compared with its columns and its checkpoint. Beside it: SHA-256 alone
over the same texts, already in memory.
"""

import asyncio
import hashlib
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine as create_synchronous_engine

from benchmarks.table import Row, is_quick, milliseconds, show
from cardflow.checkpoints import read_all
from cardflow.db import audit, checkpoints
from cardflow.db.migrate import run
from cardflow.decisions import root_hex
from cardflow.sql import Sessions, create_engine, sessions_of, transaction
from tests import build

ENTRIES, PER_CHECKPOINT, BATCH = 100_000, 1_000, 1_000
START = datetime.now(UTC) - timedelta(minutes=1)
ROOT = root_hex(build.root().public_key())
PEM = "-----BEGIN CERTIFICATE-----\n" + "MIIC" * 380 + "\n-----END CERTIFICATE-----\n"


def an_entry(number: int) -> audit.Entry:
    """Return an entry; each tenth carries a certificate, as in life."""
    facts = {"document_id": f"{number:036}", "sha256": "ab" * 32, "means": "portal"}
    if number % 10 == 0:
        facts["certificate_pem"] = PEM
    return audit.Entry(
        "document_received", START, actor=f"{number % 99:036}", event=number,
        update_id=f"{number // 20:036}", facts={"kind": "x", "lane": "logon", "facts": facts},
    )  # fmt: skip


async def filled(sessions: Sessions, number: int = ENTRIES) -> None:
    """Leave the entries and their checkpoints in the database."""
    signer = build.signer()
    for start in range(0, number, BATCH):
        entries = [an_entry(number) for number in range(start, start + BATCH)]
        async with transaction(sessions) as session:
            await audit.append_all(session, entries)
        if (start + BATCH) % PER_CHECKPOINT == 0:
            await checkpoints.make(sessions, signer, ROOT, datetime.now(UTC))


async def verified(sessions: Sessions, number: int = ENTRIES) -> tuple[float, float]:
    """Return the seconds, and the processor's, of the whole check, checkpoints' signatures too."""
    before, busy = time.perf_counter(), time.process_time()
    async with transaction(sessions) as session:
        signed, wrong = read_all(await checkpoints.tokens(session), ROOT)
        found = await audit.verify(session, signed, known=wrong, now=datetime.now(UTC))
    seconds = time.perf_counter() - before, time.process_time() - busy
    assert found.ok, found
    assert (found.entries, found.covered_to) == (number, number)
    return seconds


async def texts(sessions: Sessions) -> list[bytes]:
    """Return everything that was hashed."""
    found: list[bytes] = []
    async with transaction(sessions) as session:
        async for page in audit.pages(session):
            found += [link.text.encode() for link in page]
    return found


async def measured(file: Path, number: int) -> tuple[float, float, float, float, float]:
    """Return seconds of the check, its processor's, plain SHA-256's, MiB of text, MiB it took."""
    engine = create_engine(f"sqlite+aiosqlite:///{file}")
    sessions = sessions_of(engine)
    await filled(sessions, number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours, busy = min([await verified(sessions, number) for _ in range(3)])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    written = await texts(sessions)
    plain = milliseconds(lambda: [hashlib.sha256(text).digest() for text in written], times=3)
    await engine.dispose()
    return ours, busy, plain / 1000, sum(map(len, written)) / 2**20, grown


def main() -> None:
    """Measure and show."""
    number = 2 * PER_CHECKPOINT if is_quick() else ENTRIES
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "cardflow.db"
        engine = create_synchronous_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            run(connection, command.upgrade, "head")
        engine.dispose()
        ours, busy, plain, size, grown = asyncio.run(measured(file, number))
    rows = [
        Row(f"check of {number:,} entries ({size:.0f} MiB) and their checkpoints", ours, "s",
            "SHA-256 of the same texts, in memory", plain, higher_is_better=False, reach=10),
        Row("of which the processor's time", busy, "s"),
        Row("memory that the check needs on top", grown, "MiB"),
    ]  # fmt: skip
    show("audit", rows)


if __name__ == "__main__":
    main()
