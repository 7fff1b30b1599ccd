"""A bad network between every two parties: updates end as if it had been good.

The world is the one of the kills; what a fault meets is whatever is said on that line while an
update is under way. The oracle is the same: one certificate for each lane, one mail of each kind or
repeats under its Message-ID, nothing that was acknowledged lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from cardflow.settings import setting_name
from tests.chaos.instruments.tcp_proxy import DOWN, UP, Fault, Proxy, before
from tests.chaos.matrix import MODES
from tests.chaos.processes import kill
from tests.chaos.world import World, fork
from tests.ports import free_ports
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.softhsm, pytest.mark.temporal]
LINES = (
    "agent to API",
    "API to Temporal",
    "worker to Temporal",
    "worker to relay",
    "people to API",
)
KINDS = ("delay", "black hole", "reset", "truncate", "duplicate")
LATER = 2_500  # bytes: in the middle of a talk, not at its first words


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


def every_disturbance() -> list[Disturbance]:
    """Return each kind of fault in each direction of each line; the modes take turns."""
    faults = [
        (line, Fault(kind, way, after, seconds=1.5))
        for line in LINES
        for kind in KINDS
        for way in (UP, DOWN)
        for after in ((0, LATER) if line != "worker to relay" else (0,))
    ]
    return [Disturbance(line, f, MODES[n % 4], n) for n, (line, f) in enumerate(faults)]


CASES = every_disturbance()


class Network:
    """The proxies between the world's processes."""

    def __init__(self, world: World, proxies: dict[str, Proxy]) -> None:
        self.world, self.proxies = world, proxies
        self._turn = {line: asyncio.Lock() for line in LINES}

    async def disturbed(self, case: Disturbance) -> None:
        """Take an update to its end while the fault happens on its line."""
        proxy = self.proxies[case.line]
        async with self.world.case(case.name, seed=case.seed) as under_way:
            await under_way.desk()
            async with self._turn[case.line]:
                proxy.order(case.fault)
                await under_way.run(case.road)
                await until(lambda: proxy.fault is None, what=f"{case.name} was never reached")


async def networked(world: World, stack: AsyncExitStack) -> Network:
    """Have the world's processes speak through proxies from now on."""
    settings = world.settings
    host, _, temporal = settings.temporal_address.rpartition(":")
    people, door = free_ports(2)
    by_api = await stack.enter_async_context(before((host, int(temporal))))
    by_worker = await stack.enter_async_context(before((host, int(temporal))))
    relay = await stack.enter_async_context(before(("127.0.0.1", settings.smtp_port)))
    await _moved(
        world,
        "api",
        temporal_address=f"127.0.0.1:{by_api.port}",
        api_port=str(people),
        door_port=str(door),
    )
    await _moved(
        world,
        "worker",
        temporal_address=f"127.0.0.1:{by_worker.port}",
        smtp_port=str(relay.port),
    )
    proxies = {
        "agent to API": await stack.enter_async_context(
            before(("127.0.0.1", door), settings.door_port)
        ),
        "API to Temporal": by_api,
        "worker to Temporal": by_worker,
        "worker to relay": relay,
        "people to API": await stack.enter_async_context(
            before(("127.0.0.1", people), settings.api_port)
        ),
    }
    for name in ("api", "worker"):
        await world.processes[name].ready()
    return Network(world, proxies)


async def _moved(world: World, name: str, **changed: str) -> None:
    """Start a process anew with other settings."""
    process = world.processes[name]
    environment = {setting_name(key): value for key, value in changed.items()}
    process.start = partial(fork, world, name, environment)
    await kill(process.pid)
    process.pid = await process.start()


@pytest.fixture(scope="module")
async def run(
    here: World, request: pytest.FixtureRequest
) -> AsyncIterator[dict[str, asyncio.Task]]:
    """The chosen cases, under way beside each other."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.module is request.module
    ]
    async with AsyncExitStack() as stack:
        network = await networked(here, stack)
        tasks = {case.name: asyncio.create_task(network.disturbed(case)) for case in chosen}
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if n % 19 else ())
        for n, case in enumerate(CASES)
    ],
)
async def test_an_update_ends_as_if_the_network_had_been_good(run, case) -> None:
    await run[case.name]
