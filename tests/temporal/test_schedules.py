"""Schedules: made once, kept up to date, and left alone where an operator paused them."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import ScheduleOverlapPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cardflow.model import new_id
from cardflow.temporal.schedules import Round, keep
from worker import ROUNDS

pytestmark = pytest.mark.temporal
QUARTER = Round("round", "Tick", every=timedelta(minutes=15))


@workflow.defn
class Tick:
    """A round that does nothing."""

    @workflow.run
    async def run(self) -> None:
        return


@pytest.fixture
async def queue(temporal_env):
    """A task queue whose schedule is gone after the test."""
    queue = new_id()
    yield queue
    await temporal_env.client.get_schedule_handle(f"{queue}/round").delete()


async def described(client, queue):
    return await client.get_schedule_handle(f"{queue}/round").describe()


async def test_workers_that_start_together_leave_one_schedule(temporal_env, queue):
    client = temporal_env.client
    await asyncio.gather(*(keep(client, queue, QUARTER) for _ in range(3)))

    found = (await described(client, queue)).schedule
    assert [interval.every for interval in found.spec.intervals] == [timedelta(minutes=15)]
    assert found.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert found.action.task_queue == queue


async def test_a_newer_worker_brings_its_own_rhythm_and_wakes_nothing_that_was_paused(
    temporal_env, queue
):
    client = temporal_env.client
    await keep(client, queue, QUARTER)
    await client.get_schedule_handle(f"{queue}/round").pause(note="moving house")

    await keep(client, queue, Round("round", "Tick", every=timedelta(hours=1)))

    found = (await described(client, queue)).schedule
    assert found.spec.intervals[0].every == timedelta(hours=1)
    assert (found.state.paused, found.state.note) == (True, "moving house")


async def test_a_round_is_run_by_the_worker_of_its_queue(temporal_env, queue):
    client = temporal_env.client
    await keep(client, queue, QUARTER)
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=queue, workflows=[Tick], workflow_runner=runner):
        await client.get_schedule_handle(f"{queue}/round").trigger()
        async with asyncio.timeout(20):
            while not (recent := (await described(client, queue)).info.recent_actions):  # noqa: ASYNC110 the server acts
                await asyncio.sleep(0.05)
            started = client.get_workflow_handle(recent[0].action.workflow_id)
            await started.result()


def test_the_product_has_rounds_for_digests_left_mails_and_warnings():
    assert {round.workflow for round in ROUNDS} == {"Digests", "LeftMails", "ExpiryWarnings"}
    assert all(round.offset < round.every for round in ROUNDS)
