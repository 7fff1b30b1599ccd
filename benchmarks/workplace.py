"""The product's own processes, with workstations at its door whose cards are software keys."""

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from cardflow.enrolment import fingerprint_words
from cardflow.jobs import Job
from cardflow.settings import Settings
from cli.demo_people import ADMIN, HOLDER, Cast
from cli.demo_state import DemoState, fresh
from cli.first_admin import make_first_admin
from cli.processes import Supervisor
from cli.up import installation
from tests.api.workstation import SoftCard, Workstation

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Doors:
    """Everything runs: its people, and the workstations' way to the agent door."""

    state: DemoState
    cast: Cast
    client: httpx2.AsyncClient
    supervisor: Supervisor

    @property
    def settings(self) -> Settings:
        """Where everything is."""
        return self.state.settings


@asynccontextmanager
async def doors_open() -> AsyncIterator[Doors]:
    """Yield while everything runs, in a directory of its own; the first administrator is there."""
    with tempfile.TemporaryDirectory() as name:
        state = fresh(Path(name) / "state")
        settings, cast = state.settings, Cast(state)
        async with installation(settings) as supervisor:
            await make_first_admin(settings, ADMIN, "Ada Holm", state.password(ADMIN))
            trust = ssl.create_default_context(cafile=settings.door_root_file)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
            async with httpx2.AsyncClient(
                verify=trust, base_url=settings.door_url, limits=limits, timeout=60, trust_env=False
            ) as client:
                yield Doors(state, cast, client, supervisor)
            cast.close()


def registered(cast: Cast, rules: str, policy: str, cards: list[SoftCard]) -> list[str]:
    """People, rules and the holder's cards are registered; return the cards' ids."""
    cast.register()
    admin = cast.api(ADMIN)
    admin.post_text("/policies", rules, "application/toml")
    holder = cast.person(HOLDER)["id"]
    told = [{"token_serial": c.token_serial, "holder_id": holder} for c in cards]
    return [str(admin.post("/cards", {**card, "policy_name": policy})["id"]) for card in told]


async def enrolled(doors: Doors) -> Workstation:
    """Return a confirmed workstation of the holder's."""
    holder = doors.cast.api(HOLDER)
    code = await asyncio.to_thread(holder.post, "/agents/codes")
    workstation = Workstation(doors.client, doors.settings.door_url)
    await workstation.enrol(code["code"])
    words = {"words": fingerprint_words(bytes.fromhex(workstation.public_key))}
    await asyncio.to_thread(holder.post, f"/agents/{workstation.agent_id}/confirm", words)
    return workstation


async def asked(workstation: Workstation) -> httpx2.Response | None:
    """Return the answer to a poll, or None when the connection broke: an agent asks again then."""
    try:
        return await workstation.poll()
    except httpx2.TransportError:
        return None


async def insisted(ask: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """Return the answer; asked again when there was none, as an agent does."""
    while True:
        with suppress(httpx2.TransportError):
            answer = await ask()
            if not answer.is_server_error:
                return answer
        await asyncio.sleep(0.1)


class Desk:
    """A workstation whose card does what jobs say."""

    def __init__(
        self,
        workstation: Workstation,
        card: SoftCard,
        came: Callable[[Job, float], None] = lambda _job, _at: None,
    ) -> None:
        self._workstation = workstation
        self._card = card
        self._came = came

    async def run(self) -> None:
        """Take and answer jobs until cancelled."""
        await self.report()
        while True:
            handed = await asked(self._workstation)
            if handed and handed.status_code == httpx2.codes.OK:
                await self._carry_out(handed.json(), time.perf_counter())

    async def _carry_out(self, handed: dict[str, str], now: float) -> None:
        job = self._workstation.read(handed["job"])
        self._came(job, now)
        result = self._card.carry_out(job)
        await self.report()
        await insisted(lambda: self._workstation.answer(handed["task"], result))

    async def report(self) -> None:
        """Tell the server which card is in the reader."""
        await insisted(lambda: self._workstation.report(self._card.report()))


@asynccontextmanager
async def at_work(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """What the workstations do goes on meanwhile; a workstation that fails ends it all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        yield
        for task in tasks:
            task.cancel()


# What processes use


def processor_ms(pid: int) -> float:
    """Return the processor time of a process and its children, those that are gone included."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) * 1000 / TICKS
    children = [c for task in process.glob("task/*/children") for c in task.read_text().split()]
    return own + sum(processor_ms(int(child)) for child in children)


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is in use now, shared libraries included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
