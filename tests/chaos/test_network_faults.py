"""A bad network between every two parties: updates end as if it had been good.

The world is the one of the kills; what a fault meets is whatever is said on that line while an
update is under way. The oracle is the same: one certificate for each lane, one mail of each kind or
repeats under its Message-ID, nothing that was acknowledged lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import make_url

from cardflow.settings import setting_name
from cli.ports import free_ports
from tests.chaos.instruments.tcp_proxy import DOWN, UP, Fault, Proxy, before
from tests.chaos.matrix import MODES
from tests.chaos.processes import kill
from tests.chaos.world import World, fork
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal, pytest.mark.slow]
LINES = (
    "agent to API",
    "API to Temporal",
    "worker to Temporal",
    "worker to relay",
    "people to API",
)
TO_DATABASE = ("API to database", "worker to database")
KINDS = ("delay", "black hole", "silence", "reset", "truncate", "duplicate")
LATER = 2_500  # bytes: in the middle of a talk, not at its first words
# In clear nobody tells what comes twice from what comes next; the agents' TLS does.
MEANINGLESS = ("people to API", "duplicate")


@dataclass(frozen=True)
class Disturbance:
    """One case."""

    line: str
    fault: Fault
    road: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.line}: {self.fault.name}"


def every_disturbance(lines: tuple[str, ...] = LINES) -> list[Disturbance]:
    """Return each kind of fault in each direction of each line; the modes take turns."""
    faults = [
        (line, Fault(kind, way, after, seconds=1.5))
        for line in lines
        for kind in KINDS
        for way in (UP, DOWN)
        for after in ((0, LATER) if has_middle(line, kind, way) else (0,))
        if (line, kind) != MEANINGLESS
    ]
    return [Disturbance(line, f, MODES[n % 4], n) for n, (line, f) in enumerate(faults)]


def has_middle(line: str, kind: str, way: str) -> bool:
    """Tell whether the fault happens in the middle of a talk too, to what is answered."""
    return way == DOWN and line != "worker to relay" and kind not in ("black hole", "silence")


class Network:
    """The proxies between the world's processes."""

    def __init__(self, world: World, proxies: dict[str, Proxy]) -> None:
        self.world, self.proxies = world, proxies
        self._turn = {line: asyncio.Lock() for line in proxies}

    async def disturbed(self, case: Disturbance) -> None:
        """Take an update to its end while the fault happens on its line."""
        proxy = self.proxies[case.line]
        async with self.world.case(case.name, seed=case.seed) as under_way:
            await under_way.desk()
            async with self._turn[case.line]:
                given_up = proxy.given_up
                proxy.order(case.fault)
                await under_way.run(case.road)
                await until(lambda: proxy.fault is None, what=f"{case.name} was never reached")
                if case.fault.kind == "silence":
                    await until(lambda: proxy.given_up > given_up, what="the end of the patience")


async def networked(world: World, stack: AsyncExitStack) -> Network:
    """Have the world's processes speak through proxies from now on."""
    proxies, moved = await _lines(world, stack), {}
    people, door = free_ports(2)
    settings = world.settings
    moved["api"] = {
        "temporal_address": f"127.0.0.1:{proxies['API to Temporal'].port}",
        "api_port": str(people),
        "door_port": str(door),
    }
    moved["worker"] = {
        "temporal_address": f"127.0.0.1:{proxies['worker to Temporal'].port}",
        "smtp_port": str(proxies["worker to relay"].port),
    }
    if settings.database_url.startswith("postgresql"):
        for name, line in zip(moved, TO_DATABASE, strict=True):
            url = make_url(settings.database_url)
            proxies[line] = await stack.enter_async_context(before((url.host, url.port)))
            moved[name]["database_url"] = url.set(port=proxies[line].port).render_as_string(False)
    for name, changed in moved.items():
        await _moved(world, name, **changed)
    # The agents and the people know these ports; the API has moved behind them.
    for line, (target, port) in {
        "people to API": (people, settings.api_port),
        "agent to API": (door, settings.door_port),
    }.items():
        proxies[line] = await stack.enter_async_context(before(("127.0.0.1", target), port))
    for name in moved:
        await world.processes[name].ready()
    return Network(world, proxies)


async def _lines(world: World, stack: AsyncExitStack) -> dict[str, Proxy]:
    host, _, temporal = world.settings.temporal_address.rpartition(":")
    targets = {
        "API to Temporal": (host, int(temporal)),
        "worker to Temporal": (host, int(temporal)),
        "worker to relay": ("127.0.0.1", world.settings.smtp_port),
    }
    return {
        line: await stack.enter_async_context(before(target)) for line, target in targets.items()
    }


async def _moved(world: World, name: str, **changed: str) -> None:
    """Start a process anew with other settings."""
    process = world.processes[name]
    environment = {setting_name(key): value for key, value in changed.items()}
    process.start = partial(fork, world, name, environment)
    async with process.turn:
        await kill(process.pid)
        process.pid = await process.start()


@asynccontextmanager
async def under_way(world: World, cases: list[Disturbance]) -> AsyncIterator[dict[str, Any]]:
    """Yield the cases, under way beside each other, by name."""
    async with AsyncExitStack() as stack:
        network = await networked(world, stack)
        tasks = {case.name: asyncio.create_task(network.disturbed(case)) for case in cases}
        try:
            yield tasks
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


def chosen(request: pytest.FixtureRequest) -> list[Disturbance]:
    """Return the cases of the module that this run of tests is to try."""
    items = [item for item in request.session.items if item.module is request.module]
    return [item.callspec.params["case"] for item in items]


@pytest.fixture(scope="module")
async def run(here: World, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """The chosen cases, under way."""
    async with under_way(here, chosen(request)) as tasks:
        yield tasks


def parameters(cases: list[Disturbance]) -> list[Any]:
    """Return the cases as parameters."""
    chosen = {(x.line, x.fault.kind): x for x in sorted(cases, key=_is_next)}
    return [
        pytest.param(x, id=x.name, marks=[] if x in chosen.values() else pytest.mark.thorough)
        for x in cases
    ]


def _is_next(case: Disturbance) -> tuple[bool, bool]:
    """Sort last what ``make chaos`` has of its line and kind: the ways take turns."""
    turn = (KINDS.index(case.fault.kind) + (*LINES, *TO_DATABASE).index(case.line)) % 2
    return case.fault.after_bytes == 0, case.fault.way == (UP, DOWN)[turn]


@pytest.mark.parametrize("case", parameters(every_disturbance()))
async def test_an_update_ends_as_if_the_network_had_been_good(run, case) -> None:
    await run[case.name]
