"""Which process dies where, while which update is under way: every case, by fixed rules."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from scripts.failpoints import points
from tests.chaos.roads import travelled
from tests.chaos.world import Stop

if TYPE_CHECKING:
    from tests.chaos.case import Case
    from tests.chaos.world import World

MODES = ("none", "R", "F", "RF")
PAIRS, STOPS, SERVER_KILLS = 60, 20, 20
PAIRS_HERE, STOPS_HERE = 8, 2  # in the file of the single kills
PAIRS_IN_SAMPLE = 3
LONGEST_UPDATE = 3.0
MORE_TRIES, LATE_HIT = 2, 5  # seconds after an update in which its afterwork is done
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
    "worker.find_left_mails": "left mails",
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


@cache
def every_point() -> tuple[str, ...]:
    """Return every failpoint of the product; finding them means to parse all of it."""
    return tuple(sorted(points()))


def road_of(effect: str, modes: "cycle[str]") -> str:
    """Return the way of an update on which a process comes by the effect."""
    return ROADS.get(effect) or next(modes)


def single_kills() -> list[Fault]:
    """Return one SIGKILL at each point, the modes spread over them."""
    modes = cycle(MODES)
    return [
        Fault(point, (point,), road_of(point.rpartition(".")[0], modes), seed)
        for seed, point in enumerate(every_point())
    ]


def _on_every_road() -> list[str]:
    special = {*ROADS, *ERRANDS}
    return [point for point in every_point() if point.rpartition(".")[0] not in special]


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


def on_sqlite() -> list[Fault]:
    """Return the cases that need no database of their own: each single kill, some of the others."""
    return [*single_kills(), *pairs()[:PAIRS_HERE], *stops()[:STOPS_HERE]]


def on_postgresql() -> list[Fault]:
    """Return the pairs and rests that are left."""
    return [*pairs()[PAIRS_HERE:], *stops()[STOPS_HERE:]]


def of_servers() -> list[Fault]:
    """Return the kills of servers."""
    return [*random_kills("temporal"), *random_kills("database")]


def is_in_sample(fault: Fault) -> bool:
    """Tell whether ``make test`` runs the case: one kill at every second effect, and the first few.

    It is ``before`` and ``done`` of those effects in turn. Faults of cards, mail, CA and disk are
    in ``make test`` beside them.
    """
    if len(fault.points) != 1 or fault.then:
        return fault.seed < (1 if fault.then else PAIRS_IN_SAMPLE)
    effects = sorted({point.rpartition(".")[0] for point in every_point()})
    turn, is_left_out = divmod(effects.index(fault.effects[0]), 2)
    return not is_left_out and fault.points[0].endswith(("before", "done")[turn % 2])


def parameters(faults: Iterable[Fault]) -> list[Any]:
    """Return the cases as parameters of a test; those that are not in the sample are slow."""
    return [
        pytest.param(fault, id=fault.name, marks=() if is_in_sample(fault) else pytest.mark.slow)
        for fault in spread(faults)
    ]


def spread(faults: Iterable[Fault]) -> list[Fault]:
    """Return them in an order in which one process does not die many times in a row."""
    return sorted(faults, key=lambda fault: Random(f"{SEED} {fault.name}").random())  # noqa: S311


class Run:
    """Cases under way beside each other, as many as there are desks."""

    def __init__(self, world: "World", faults: Iterable[Fault]) -> None:
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
            for _ in range(MORE_TRIES):
                if await case.was_hit(LATE_HIT):
                    break
                await travelled(case, fault.road, errand)  # a neighbour's kill took it elsewhere

    async def _kill(self, world: "World", fault: Fault) -> None:
        if fault.whom:
            await asyncio.sleep(fault.after)
            await world.processes[fault.whom].killed()

    async def _alone(self, point: str, case: "Case", fault: Fault) -> None:
        """Arm a point, once nobody else waits there."""
        while point in case.world.armed:
            await asyncio.wait({case.world.armed[point].hit})
        case.arm(point, then=fault.then)
