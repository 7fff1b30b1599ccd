"""Which process dies where, while which update is under way: every case, by fixed rules."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING

from scripts.failpoints import points
from tests.chaos.roads import travelled
from tests.chaos.world import Stop

if TYPE_CHECKING:
    from tests.chaos.case import Case
    from tests.chaos.world import World

MODES = ("none", "R", "F", "RF")
PAIRS, STOPS, SERVER_KILLS = 110, 20, 20
LONGEST_UPDATE = 3.0
SEED = 20_261_127
POLICY_ROADS = ("officer", "portal", "signed")
# Points that only some updates come by; all others take the modes in turn.
ROADS = {
    "ca.begin": "officer",
    "ca.decide": "officer",
    "ca.cancel": "cancelled at the CA",
    "worker.withdraw": "cancelled at the CA",
    "worker.poll": "officer",
    "api.nudge": "officer",
    "api.record_decision": "officer",
    "api.store_document": "R",
    "api.record_document": "R",
    "api.store_form": "portal",
    "api.record_form": "portal",
    "helper.answer_and_hold": "none",
    "helper.sign_form": "signed",
    "agent.get_form": "signed",
    "agent.post_form": "signed",
    "api.mail_form": "a form by mail",
    "api.give_back": "an agent that goes away",
    "agent.get_job-keys": "a new job key",
}
# Points beside updates: an errand brings some process there while an update is under way.
ERRANDS = {
    "worker.send_digests": "digests",
    "worker.warn_of_expiry": "warnings",
    "worker.send_trial": "a trial mail",
    "api.mail_trial": "a trial mail",
    "worker.deliver": "another workstation",
    "api.mail_soon": "another workstation",
    "agent.post_enrolments": "another workstation",
    "api.idempotent": "a code for a workstation",
    "agent.post_device-key": "a new device key",
    "ca.responder": "a lost OCSP signer",
}


@dataclass(frozen=True)
class Fault:
    """One case: what is armed, what becomes of who stops there, and which way the update takes."""

    name: str
    points: tuple[str, ...]
    road: str
    seed: int
    then: Stop | None = None
    whom: str = ""  # a server that is killed whatever it does
    after: float = 0  # seconds from the click

    @property
    def effects(self) -> tuple[str, ...]:
        return tuple(point.rpartition(".")[0] for point in self.points)


def road_of(effect: str, modes: "cycle[str]") -> str:
    """Return the way of an update on which a process comes by the effect."""
    return ROADS.get(effect) or next(modes)


def single_kills() -> list[Fault]:
    """Return one SIGKILL at each point, the modes spread over them."""
    modes = cycle(MODES)
    return [
        Fault(point, (point,), road_of(point.rpartition(".")[0], modes), seed)
        for seed, point in enumerate(sorted(points()))
    ]


def _on_every_road() -> list[str]:
    special = {*ROADS, *ERRANDS}
    return [point for point in sorted(points()) if point.rpartition(".")[0] not in special]


def process_of(point: str) -> str:
    """Return which process dies at a point."""
    first = point.partition(".")[0]
    return "worker" if first in ("mail", "record", "ca") else first


def pairs() -> list[Fault]:
    """Return kills of two different processes in one update, by seed."""
    chance = Random(SEED)  # noqa: S311 (a repeatable choice, no secret)
    common, found = _on_every_road(), {}
    while len(found) < PAIRS:
        first, second = chance.sample(common, 2)
        if process_of(first) != process_of(second):
            name = f"{first}+{second}"
            found.setdefault(name, Fault(name, (first, second), chance.choice(MODES), len(found)))
    return list(found.values())


def stops() -> list[Fault]:
    """Return processes that rest for longer than anybody waits for them, and go on."""
    chance = Random(SEED)  # noqa: S311 (a repeatable choice, no secret)
    chosen = chance.sample(_on_every_road(), STOPS)
    return [
        Fault(f"rest at {point}", (point,), MODES[n % 4], n, Stop(7))
        for n, point in enumerate(chosen)
    ]


def random_kills(whom: str) -> list[Fault]:
    """Return kills of a server at any time within an update, by seed."""
    chance = Random(f"{SEED} {whom}")  # noqa: S311 (a repeatable choice, no secret)
    moments = [round(chance.uniform(0, LONGEST_UPDATE), 2) for _ in range(SERVER_KILLS)]
    return [
        Fault(f"{whom} after {after} s", (), MODES[n % 4], n, whom=whom, after=after)
        for n, after in enumerate(moments)
    ]


class Run:
    """Cases under way beside each other, as many as there are desks."""

    def __init__(self, world: "World", faults: Iterable[Fault]) -> None:
        self._busy: dict[str, asyncio.Lock] = {}
        self._tasks = {fault.name: asyncio.create_task(self._one(world, fault)) for fault in faults}

    async def outcome(self, name: str) -> None:
        """Return when the case is over; raise what was found."""
        await asyncio.shield(self._tasks[name])

    async def end(self) -> None:
        """Stop what nobody waits for any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _one(self, world: "World", fault: Fault) -> None:
        async with world.case(fault.name, seed=fault.seed) as case:
            await case.desk()
            for point in fault.points:
                await self._alone(point, case, fault)
            errand = next((ERRANDS[e] for e in fault.effects if e in ERRANDS), "")
            away = asyncio.create_task(self._kill(world, fault))
            await travelled(case, fault.road, errand)
            await away

    async def _kill(self, world: "World", fault: Fault) -> None:
        if fault.whom:
            await asyncio.sleep(fault.after)
            await world.processes[fault.whom].killed()

    async def _alone(self, point: str, case: "Case", fault: Fault) -> None:
        """Arm a point, once nobody else waits there."""
        while point in case.world.armed:
            await asyncio.wait({case.world.armed[point].hit})
        case.arm(point, then=fault.then)
