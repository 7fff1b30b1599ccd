"""Two versions of the worker at once, as during a deployment: every update ends, once."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from cardflow.model import (
    Action,
    DocumentKind,
    EventKind,
    LaneStage,
    Mode,
    Reply,
    Stage,
    Verdict,
    new_id,
)
from cardflow.temporal.client import runtime
from tests.build import a_policy, an_entry, continuing, deciding, handing_in
from tests.waiting import until
from tests.workflows.conftest import World, machine, workstation
from tests.workflows.versions import Announcing, Guarded

POLICY = a_policy(an_entry("logon", Mode.CERTIFICATE_FORM))
AT_ONCE = 10
TOGETHER = {"the older together", "the newer together"}
FEW = 5  # workflows that a worker keeps: the others are replayed each time, wherever they went
NEW_WAY = EventType.EVENT_TYPE_MARKER_RECORDED
CANNOT_FOLLOW = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR


def older(world: World, at: str = "alone") -> Worker:
    return machine(world, Announcing, identity=f"the older {at}", max_cached_workflows=FEW)


async def newer(world: World, at: str = "alone") -> Worker:
    """Return a worker on a connection of its own, as another process would have."""
    host = world.client.service_client.config.target_host
    converter = world.client.data_converter
    client = await Client.connect(
        host, namespace=world.client.namespace, data_converter=converter, runtime=runtime()
    )
    options = {"identity": f"the newer {at}", "max_cached_workflows": FEW}
    return machine(world, Guarded, client=client, **options)


async def opened(world: World) -> World:
    """Return a world around an update of its own that awaits its form; the fakes are shared."""
    one = replace(world, started=[])
    await one.open(POLICY)
    await acted(one, continuing(one.update))
    await until_on_record(one, LaneStage.AWAITING_CERTIFICATE_FORM)
    return one


async def finished(one: World) -> Stage:
    """Take the update from its form to the end."""
    await acted(one, handing_in(one.update, "logon", DocumentKind.CERTIFICATE_FORM))
    await until_on_record(one, LaneStage.CHECKING_CERTIFICATE_FORM)
    view = one.records.views[one.update.update_id]
    await acted(one, deciding(one.update, view, "logon", Verdict.APPROVE))
    await acted(one, continuing(one.update))
    return await one.handle.result()


async def acted(one: World, action: Action) -> Reply:
    """Send an action until it is answered, as the API does: it has an id and counts once."""
    while True:
        with suppress(WorkflowUpdateRPCTimeoutOrCancelledError, RPCError):
            return await one.act(action)
        await asyncio.sleep(0)


async def until_on_record(one: World, stage: LaneStage) -> None:
    def is_there() -> bool:
        view = one.records.views.get(one.update.update_id)
        return bool(view and view.state.lanes[0].stage is stage and not view.state.visit)

    await until(is_there, what=f"an update at {stage}")


async def each(work, things):  # type: ignore[no-untyped-def]
    """Do the work on all things, not too many at once."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(thing):  # type: ignore[no-untyped-def]
        async with turn:
            return await work(thing)

    return await asyncio.gather(*(one(thing) for thing in things))


async def remembered(one: World) -> tuple[bool, bool, set[str]]:
    """Return whether the update went the new way, whether a worker could not follow it, and which
    of the workers that ran together took it on."""
    events = (await one.handle.fetch_history()).events
    causes = {event.workflow_task_failed_event_attributes.cause for event in events}
    workers = {event.workflow_task_completed_event_attributes.identity for event in events}
    is_new = any(event.event_type == NEW_WAY for event in events)
    return is_new, CANNOT_FOLLOW in causes, workers & TOGETHER


@pytest.mark.temporal
@pytest.mark.parametrize("updates", [4, pytest.param(200, marks=pytest.mark.slow)])
async def test_every_update_ends_once_whichever_version_runs_it(
    temporal_env: WorkflowEnvironment, updates: int
) -> None:
    world = World(temporal_env, f"cardflow-{new_id()}")
    async with workstation(world):
        async with older(world):
            ones = await each(opened, [world] * (updates // 2))
        async with await newer(world):
            ones += await each(opened, [world] * (updates - updates // 2))
        async with older(world, "together"), await newer(world, "together"):
            stages = await each(finished, ones)
            histories = await each(remembered, ones)

    assert stages == [Stage.COMPLETED] * updates
    assert sum(is_new for is_new, _, _ in histories) >= updates // 2
    assert not any(cannot_follow for _, cannot_follow, _ in histories)
    if updates > FEW:  # else one of them may take all
        assert set().union(*(workers for *_, workers in histories)) == TOGETHER
    assert len(world.ca.issued) == updates
    assert len(world.records.of(EventKind.WRITTEN)) == updates
    for one in ones:
        known = world.records.known[one.update.update_id]
        assert known == set(range(1, len(known) + 1))
