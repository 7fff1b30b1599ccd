"""Which process dies where, while which update is under way: every case, by fixed rules."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
WITH_FORMS = ("R", "F", "RF")
STOPS, SERVER_KILLS = 20, 12
RESTS_AT = (  # while somebody waits; the others are chosen by seed
    *("agent.get_jobs.done", "agent.post_results.before", "api.act.done", "api.hand_out.done"),
    *("api.complete.before", "helper.login.done", "helper.create_certificate.before"),
    *("helper.prompt.before", "record.publish.before", "worker.submit.done"),
)
REST = 7.0  # seconds: longer than each wait in ``zygote.SHORTENED``
PAIRS_HERE, STOPS_HERE = 4, 2  # in the file of the single kills
PAIRS_IN_SAMPLE = 3
SERVER_KILLS_IN_CHAOS, STOPS_IN_CHAOS = 7, 14
FURTHER = 1_000  # seeds of what is more than one kill at each point
SAMPLE_OF_ROADS = {
    ("helper.destroy", "cleared"),
    ("api.record_decision", "one lane rejected"),
    ("api.act", "handed in again"),
    ("worker.revoke", "lost while a form is out"),
}
LONGEST_UPDATE = 3.0
MORE_TRIES, LATE_HIT = 2, 5  # seconds after an update in which its afterwork is done
SEED = 20_261_127
POLICY_ROADS = ("officer", "portal", "signed", "two")
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
    "agent.keep_enrolment": "another workstation",
    "agent.post_device-key": "a new device key",
    "agent.make_key": "a new device key",
    "agent.settle_on_key": "a new device key",
    "api.commit": "a changed profile",
    "ca.responder": "a lost OCSP signer",
}
# No update's: nothing tells whom a process is at work for there.
FOR_ANYBODY = {*ERRANDS, "ca.crl", "api.checkpoint", "api.export_checkpoint"}
# What is done on roads that only some updates take; each meets one kill there, before or after.
ON_ROADS = {
    "two": ("worker.submit", "helper.generate", "helper.create_certificate", "record.publish"),
    "one lane rejected": (
        *("ca.decide", "api.record_decision", "worker.poll", "record.publish", "mail.send"),
        *("helper.create_certificate", "api.complete", "agent.post_results"),
    ),
    "all or nothing": ("ca.decide", "api.nudge", "record.publish", "ca.revoke", "worker.revoke"),
    "handed in again": ("api.journal", "api.act", "record.publish"),
    "scanned again": ("api.store_document", "api.record_document", "worker.publish"),
    "cleared": (
        *("api.journal", "api.start", "record.open", "api.keep_answer", "helper.destroy"),
        *("agent.post_results", "api.complete", "record.publish", "ca.revoke", "worker.revoke"),
    ),
    "lost while a form is out": (
        *("api.journal", "api.act", "record.publish", "ca.revoke", "worker.revoke"),
        "record.revoked",
    ),
    "lost at the CA": ("api.act", "ca.cancel", "worker.withdraw", "record.publish"),
    "lost during a write": (
        *("helper.generate", "helper.create_certificate", "agent.post_results", "api.act"),
        *("ca.commit", "record.publish"),
    ),
    "lost after a write": ("worker.revoke", "ca.revoke", "record.revoked"),
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


def on_roads() -> list[Fault]:
    """Return kills on the roads that the modes do not lead to."""
    ways = [(road, effect) for road, effects in ON_ROADS.items() for effect in effects]
    return [
        Fault(f"{effect}.{side}, {road}", (f"{effect}.{side}",), road, FURTHER + number)
        for number, (road, effect) in enumerate(ways)
        for side in [("before", "done")[number % 2]]
    ]


def pairs() -> list[Fault]:
    """Return kills of two different processes in one update.

    Each point that all updates come by is killed at in each mode with forms, here or alone; what
    happens without forms happens in all of them too.
    """
    chance = Random(SEED)  # noqa: S311 (a repeatable choice, no secret)
    alone = {fault.points[0]: fault.road for fault in single_kills()}
    found = []
    for mode in WITH_FORMS:
        left = [point for point in _on_every_road() if alone[point] != mode]
        chance.shuffle(left)
        while left:
            first, second = _two_of(left) or (left[0], chance.choice(_elsewhere(left[0])))
            left = [point for point in left if point not in (first, second)]
            name = f"{first}+{second}, {mode}"
            found.append(Fault(name, (first, second), mode, 2_000 + len(found)))
    return found + _pairs_on_roads(chance)


def _two_of(left: list[str]) -> tuple[str, str] | None:
    """Return points of the two processes that most are left of, if there are two."""
    (one, _), *rest = Counter(map(process_of, left)).most_common(2)
    if not rest:
        return None
    first = next(point for point in left if process_of(point) == one)
    return first, next(point for point in left if process_of(point) == rest[0][0])


def _elsewhere(point: str) -> list[str]:
    return [p for p in _on_every_road() if process_of(p) != process_of(point)]


def _pairs_on_roads(chance: Random) -> list[Fault]:
    """Return for each special road its first effect with one that all roads have."""
    found = []
    for effect, road in ROADS.items():
        if road in MODES or road == "an agent that goes away":
            continue
        first = f"{effect}.{chance.choice(('before', 'done'))}"
        second = chance.choice(_elsewhere(first))
        name = f"{first}+{second}, {road}"
        found.append(Fault(name, (first, second), road, 3_000 + len(found)))
    return found


def stops() -> list[Fault]:
    """Return processes that rest for longer than anybody waits for them, and go on."""
    chance = Random(SEED)  # noqa: S311 (a repeatable choice, no secret)
    singles = [fault for fault in single_kills() if _may_rest(fault)]
    fixed = [fault for fault in singles if fault.name in RESTS_AT]
    others = [fault for fault in singles if fault not in fixed]
    chosen = [*fixed, *chance.sample(others, STOPS - len(fixed))]
    return [
        replace(fault, name=f"rest at {fault.name}", then=Stop(REST), seed=n)
        for n, fault in enumerate(chosen)
    ]


def _may_rest(fault: Fault) -> bool:
    return fault.effects[0] not in ERRANDS and fault.road != "an agent that goes away"


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
    return [*single_kills(), *on_roads(), *pairs()[:PAIRS_HERE], *stops()[:STOPS_HERE]]


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
    if fault.whom:
        return False
    if len(fault.points) != 1 or fault.then:
        return fault.seed < (1 if fault.then else 2_000 + PAIRS_IN_SAMPLE)
    if fault.seed >= FURTHER:
        return (fault.effects[0], fault.road) in SAMPLE_OF_ROADS
    effects = sorted({point.rpartition(".")[0] for point in every_point()})
    turn, is_left_out = divmod(effects.index(fault.effects[0]), 2)
    return not is_left_out and fault.points[0].endswith(("before", "done")[turn % 2])


def is_thorough(fault: Fault) -> bool:
    """Tell whether ``make chaos`` has enough of the case's kind without it; it has ten minutes."""
    if fault.whom:
        return fault.seed >= SERVER_KILLS_IN_CHAOS
    if fault.then:
        return fault.seed >= STOPS_IN_CHAOS
    return fault.seed >= FURTHER and fault.seed % 3 > 0


def parameters(faults: Iterable[Fault]) -> list[Any]:
    """Return the cases as parameters of a test; those that are not in the sample are slow."""
    return [pytest.param(fault, id=fault.name, marks=_marks(fault)) for fault in spread(faults)]


def _marks(fault: Fault) -> list[pytest.MarkDecorator]:
    if is_in_sample(fault):
        return []
    return [pytest.mark.slow, *([pytest.mark.thorough] if is_thorough(fault) else [])]


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
            errand = next((ERRANDS[e] for e in fault.effects if e in ERRANDS), "")
            for tries_left in reversed(range(1 + MORE_TRIES)):
                await case.disarm()  # all points are to be met in one update
                for point in fault.points:
                    known = point.rpartition(".")[0] not in FOR_ANYBODY and tries_left > 0
                    case.arm(point, then=fault.then, for_anybody=not known)
                away = asyncio.create_task(self._kill(case, fault))
                await travelled(case, fault.road, errand)
                await away
                if await case.was_hit(LATE_HIT):
                    break  # else a neighbour's kill took it elsewhere

    async def _kill(self, case: "Case", fault: Fault) -> None:
        if fault.whom:
            await asyncio.sleep(fault.after)
            await case.killed(fault.whom)
