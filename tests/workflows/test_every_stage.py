"""Cancelling, and reporting the card lost, at every stage that a lane of every mode has.

One update each; ``test_all_at_once.py`` does the same in a few updates of many lanes.
"""

import asyncio

import pytest

from cardflow.jobs import JobKind
from cardflow.model import EventKind, Lane, LaneStage, MailKind, Mode, Role, Stage
from tests.build import (
    HOLDER,
    OPERATOR,
    a_policy,
    an_entry,
    cancelling,
    continuing,
    reporting_lost,
    to_clear,
)
from tests.workflows.conftest import World
from tests.workflows.stages import PLACES, WITH_CERTIFICATE, reach

OLD = "old-logon"


async def ended(world: World) -> Lane:
    """Return the lane after the update has ended as cancelled; the CA may answer until then."""
    if world.ca.gate:
        world.ca.gate.set()
    assert await world.handle.result() is Stage.CANCELLED
    assert world.records.view is not None
    return world.records.view.state.lanes[0]


def owed(world: World) -> list[str]:
    return [ref.cka_id for e in world.records.of(EventKind.DEBTS_RECORDED) for ref in e.refs]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "stage"), PLACES)
async def test_cancelling(world: World, mode: Mode, stage: LaneStage) -> None:
    await reach(world, mode, stage)
    own = world.update.plan.lanes[0].cka_id
    if stage is LaneStage.WRITTEN:
        assert "being written" in await world.refused(cancelling(world.update))
        world.agent.gates[JobKind.CLEAN_UP].set()
        assert await world.handle.result() is Stage.COMPLETED
        return

    await world.act(cancelling(world.update))
    lane = await ended(world)
    assert (lane.stage, lane.reason) == (LaneStage.CANCELLED, "changed my mind")
    assert owed(world) == ([] if stage is LaneStage.PREPARING else [own])
    if stage in WITH_CERTIFICATE:
        await world.afterwork()
        assert world.ca.revoked == {lane.serial_number: "cessationOfOperation"}
    elif stage is LaneStage.PREPARING:
        assert (world.ca.revoked, world.ca.withdrawn) == ({}, [])
    else:
        await world.afterwork()
        assert world.ca.withdrawn == [f"{world.update.update_id}:1:logon"]
    assert world.records.mails[-1] is MailKind.CANCELLED
    assert JobKind.WRITE not in [job.kind for job in world.agent.jobs]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "stage"), PLACES)
async def test_reporting_the_card_lost(world: World, mode: Mode, stage: LaneStage) -> None:
    await reach(world, mode, stage)
    jobs = len(world.agent.jobs)
    await world.act(reporting_lost(world.update))

    lane = await ended(world)
    await world.afterwork()
    told = [event for event in world.records.of(EventKind.REPORTED_LOST) if event.token]
    assert [(e.actor, e.facts) for e in told] == [(HOLDER, {"reason": "left on the train"})]
    is_issued = stage in WITH_CERTIFICATE
    assert lane.stage is (LaneStage.REVOKED if is_issued else LaneStage.CANCELLED)
    assert lane.reason == "the card was reported lost: left on the train"
    ours = [lane.serial_number, OLD] if is_issued else [OLD]
    assert world.ca.revoked == dict.fromkeys(ours, "keyCompromise")
    assert len(world.agent.jobs) == jobs  # nothing is written after the report
    untouched = stage in (LaneStage.PREPARING, LaneStage.WRITTEN)
    assert owed(world) == ([] if untouched else [world.update.plan.lanes[0].cka_id])


@pytest.mark.parametrize("job", [JobKind.PREPARE, JobKind.WRITE])
async def test_a_report_ends_a_visit_that_is_running(world: World, job: JobKind) -> None:
    world.agent.gates[job] = asyncio.Event()
    await world.open(a_policy())
    await world.act(continuing(world.update))
    await world.until(lambda _: job in [at_work.kind for at_work in world.agent.jobs])
    await world.act(reporting_lost(world.update, OPERATOR, Role.OPERATOR))

    lane = await ended(world)
    await world.afterwork()
    assert world.records.of(EventKind.WRITTEN) == []
    assert owed(world) == [world.update.plan.lanes[0].cka_id]
    issued = [lane.serial_number] if job is JobKind.WRITE else []
    assert world.ca.revoked == dict.fromkeys([*issued, OLD], "keyCompromise")


async def test_what_comes_of_a_request_of_a_lost_card_is_revoked_for_the_same_reason(
    world: World,
) -> None:
    await reach(world, Mode.NONE, LaneStage.AT_CA)
    await world.act(reporting_lost(world.update))

    await ended(world)
    await world.afterwork()
    assert world.ca.withdrawn_because == {f"{world.update.update_id}:1:logon": "keyCompromise"}


async def test_a_card_that_is_being_cleared_can_be_reported_lost(world: World) -> None:
    await world.open(a_policy())
    await world.act(cancelling(world.update))
    await world.handle.result()
    await world.begin(to_clear(world.update))
    await world.act(reporting_lost(world.update))

    assert await world.handle.result() is Stage.CANCELLED
    await world.afterwork()
    assert world.agent.jobs == []
    assert world.ca.revoked == {OLD: "keyCompromise"}


async def test_a_lost_card_ends_every_lane_wherever_it_stands(world: World) -> None:
    policy = a_policy(an_entry("logon"), an_entry("mail", Mode.REQUEST_FORM), an_entry("files"))
    await world.open(policy, officers=("mail", "files"))
    await world.visit()
    await world.until_lane("logon", LaneStage.READY)
    await world.until_lane("files", LaneStage.AT_CA)
    await world.officer_says("no", "files")
    await world.until_lane("files", LaneStage.CA_REJECTED)
    await world.act(reporting_lost(world.update))

    await ended(world)
    await world.afterwork()
    assert world.records.view is not None
    lanes = {x.plan.lane: x for x in world.records.view.state.lanes}
    stages = {name: lane.stage for name, lane in lanes.items()}
    assert stages == {
        "logon": LaneStage.REVOKED,
        "mail": LaneStage.CANCELLED,
        "files": LaneStage.CA_REJECTED,
    }
    old = {f"old-{name}" for name in lanes}
    assert set(world.ca.revoked) == {lanes["logon"].serial_number, *old}
    assert len(owed(world)) == 3
