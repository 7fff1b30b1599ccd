"""Ways to take an update of one lane to every stage that its mode has, and to leave it there."""

import asyncio
from collections.abc import Awaitable, Callable

from cardflow.jobs import JobKind
from cardflow.model import DocumentKind, LaneStage, Mode, Verdict
from tests.build import a_policy, an_entry, continuing
from tests.workflows.conftest import World

S = LaneStage
REQUEST, CERTIFICATE = DocumentKind.REQUEST_FORM, DocumentKind.CERTIFICATE_FORM
WAYS = {
    Mode.NONE: (S.PREPARING, S.AT_CA, S.READY, S.WRITTEN),
    Mode.REQUEST_FORM: (
        *(S.PREPARING, S.AWAITING_REQUEST_FORM, S.CHECKING_REQUEST_FORM),
        *(S.AT_CA, S.READY, S.WRITTEN),
    ),
    Mode.CERTIFICATE_FORM: (
        *(S.PREPARING, S.AT_CA, S.AWAITING_CERTIFICATE_FORM, S.CHECKING_CERTIFICATE_FORM),
        *(S.READY, S.WRITTEN),
    ),
    Mode.BOTH: (
        *(S.PREPARING, S.AWAITING_REQUEST_FORM, S.CHECKING_REQUEST_FORM, S.AT_CA),
        *(S.AWAITING_CERTIFICATE_FORM, S.CHECKING_CERTIFICATE_FORM, S.READY, S.WRITTEN),
    ),
}
PLACES = [(mode, stage) for mode, way in WAYS.items() for stage in way]
WITH_CERTIFICATE = (
    *(S.AWAITING_CERTIFICATE_FORM, S.CHECKING_CERTIFICATE_FORM, S.READY, S.WRITTEN),
)


async def reach(world: World, mode: Mode, stage: LaneStage) -> None:
    """Open an update of one lane in this mode and leave the lane at the stage.

    ``written`` is the visit that has written and is about to clean up.
    """
    is_f = mode is Mode.CERTIFICATE_FORM  # the CA issues at once: only its delay holds the lane
    officers = () if is_f else ("logon",)
    await world.open(a_policy(an_entry("logon", mode, precheck=not is_f)), officers=officers)
    if is_f:
        world.ca.gate = asyncio.Event()
    for step in WAYS[mode][1 : WAYS[mode].index(stage) + 1]:
        await STEPS[step](world)
        await world.until_lane("logon", step)


async def _ask_the_ca(world: World) -> None:
    lane = (await world.view()).state.lanes[0]
    if lane.stage is S.CHECKING_REQUEST_FORM:
        await world.decide(Verdict.APPROVE)
    else:
        await _prepare(world)


async def _prepare(world: World) -> None:
    await world.visit()


async def _issue(world: World) -> None:
    if world.ca.gate:
        world.ca.gate.set()
    else:
        await world.officer_says("yes")


async def _make_ready(world: World) -> None:
    lane = (await world.view()).state.lanes[0]
    if lane.stage is S.CHECKING_CERTIFICATE_FORM:
        await world.decide(Verdict.APPROVE)
    else:
        await _issue(world)


async def _write(world: World) -> None:
    world.agent.gates[JobKind.CLEAN_UP] = asyncio.Event()
    await world.act(continuing(world.update))


STEPS: dict[LaneStage, Callable[[World], Awaitable[object]]] = {
    S.AWAITING_REQUEST_FORM: _prepare,
    S.CHECKING_REQUEST_FORM: lambda world: world.hand_in(REQUEST),
    S.AT_CA: _ask_the_ca,
    S.AWAITING_CERTIFICATE_FORM: _issue,
    S.CHECKING_CERTIFICATE_FORM: lambda world: world.hand_in(CERTIFICATE),
    S.READY: _make_ready,
    S.WRITTEN: _write,
}
