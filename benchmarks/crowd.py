"""Workstations at the agent door, in a process of their own: playing them must starve nobody."""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.connection import REPORT_EVERY_SECONDS, WAIT_SECONDS, pause, poll_path
from agent.door import PATIENCE_SECONDS, Door
from benchmarks.workplace import Doors, at_work
from cardflow.db.tables import Agent
from cardflow.decisions import utc_now
from cardflow.errors import Unavailable
from cardflow.model import new_id
from cardflow.sql import create_engine, sessions_of, transaction
from cli.demo_people import HOLDER


@dataclass
class Noted:
    """What the crowd met: seconds of each answered report, and polls that were not served."""

    reports: list[float] = field(default_factory=list)
    unserved: list[str] = field(default_factory=list)
    seconds: float = 0  # how long notes were taken


class Crowd:
    """So many workstations, idle: they poll for jobs, and report empty readers."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    async def begin(self) -> None:
        """Only what comes from now on is noted."""
        await asyncio.to_thread(self._line.send, "begin")

    async def end(self) -> Noted:
        """Return what was noted; the workstations are gone."""
        await asyncio.to_thread(self._line.send, "end")
        noted: Noted = await asyncio.to_thread(self._line.recv)
        return noted


@asynccontextmanager
async def crowd_at(doors: Doors, number: int) -> AsyncIterator[Crowd]:
    """Yield while so many confirmed workstations, put into the register directly, are there."""
    ours, theirs = multiprocessing.Pipe()
    given = (doors.settings.door_url, doors.settings.door_root_file, number, theirs)
    process = multiprocessing.get_context("spawn").Process(target=_play, args=given, daemon=True)
    process.start()
    theirs.close()
    try:
        keys = await asyncio.to_thread(ours.recv)
        ours.send(await _registered(doors, keys))
        yield Crowd(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


async def _registered(doors: Doors, public_keys: list[str]) -> list[str]:
    """Return the ids of the workstations that have these keys now."""
    engine, now = create_engine(doors.settings.database_url), utc_now()
    agents = [
        Agent(
            id=new_id(),
            person_id=doors.cast.person(HOLDER)["id"],
            public_key=public_key,
            state="confirmed",
            host="desk",
            system="Debian 12",
            version="0.1.0",
            words="",
            enrolled_at=now,
            key_since=now,
        )
        for public_key in public_keys
    ]
    ids = [agent.id for agent in agents]
    async with transaction(sessions_of(engine)) as session:
        session.add_all(agents)
    await engine.dispose()
    return ids


# In the process of its own


def _play(door_url: str, root_file: Path, number: int, line: Connection) -> None:
    asyncio.run(_crowd(door_url, root_file, number, line))


async def _crowd(server: str, root_file: Path, number: int, line: Connection) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(number)]
    line.send([key.public_key().public_bytes_raw().hex() for key in keys])
    doors = [
        Door(server, root_file, key, agent_id)
        for key, agent_id in zip(keys, line.recv(), strict=True)
    ]
    noted, step = Noted(), REPORT_EVERY_SECONDS / number
    presence = [_present(door, n * step, noted) for n, door in enumerate(doors)]
    async with at_work(*presence, *(_idle(door, noted) for door in doors)):
        await asyncio.to_thread(line.recv)
        noted.reports.clear()
        noted.unserved.clear()
        before = time.perf_counter()
        await asyncio.to_thread(line.recv)
        noted.seconds = time.perf_counter() - before
    line.send(noted)


async def _idle(door: Door, noted: Noted) -> None:
    """Wait for jobs that never come, until cancelled."""
    failures = 0
    while True:
        try:
            answer = await door.send("GET", poll_path(), patience=WAIT_SECONDS + PATIENCE_SECONDS)
            trouble = "" if answer.status == httpx2.codes.NO_CONTENT else answer.detail or "a job"
        except Unavailable as unavailable:
            trouble = str(unavailable)
        failures = failures + 1 if trouble else 0
        if trouble:
            noted.unserved.append(trouble)
            await asyncio.sleep(pause(failures))


async def _present(door: Door, delay: float, noted: Noted) -> None:
    """Report an empty reader as often as an agent does."""
    await asyncio.sleep(delay)
    while True:
        before = time.perf_counter()
        with suppress(Unavailable):
            await door.send("PUT", "/agent/v1/presence", {"tokens": []})
            noted.reports.append(time.perf_counter() - before)
        await asyncio.sleep(max(0.0, before + REPORT_EVERY_SECONDS - time.perf_counter()))
