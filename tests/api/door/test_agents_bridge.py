"""Jobs between Temporal and agents: handed out once, answered once, never stuck."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from api.keys import load_keys
from cardflow.job_keys import raw_hex
from cardflow.jobs import CardJob, InspectJob, JobKind, JobResult, Outcome
from cardflow.model import Role, new_id
from cli.key_changes import change_job_key
from tests.api.door.test_agents_requests import disable
from tests.api.workstation import Workstation
from tests.waiting import until

pytestmark = pytest.mark.temporal
QUEUE = "bridge-tests"
DONE = JobResult(Outcome.DONE, token_serial="0123")
NO_TIME_OUT = 15  # seconds; every time-out that could help a lost job, or end a poll, is longer


@workflow.defn(sandboxed=False)
class AskCard:
    """Sends one job to one agent."""

    @workflow.run
    async def run(self, agent_id: str, kind: str, is_job: bool) -> JobResult:
        job = InspectJob(CardJob("job-1", JobKind.INSPECT, "u", "c", "0123", "v", "4711 apple"))
        return await workflow.execute_activity(
            kind,
            job if is_job else ["no", "job"],
            result_type=JobResult,
            task_queue=f"agent-{agent_id}",
            schedule_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=5)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@pytest.fixture
async def ask(temporal_env: WorkflowEnvironment) -> AsyncIterator[Any]:
    """Yield what sends a job to an agent."""
    client = temporal_env.client

    async def start(
        agent_id: str, kind: str = "inspect", *, is_job: bool = True
    ) -> WorkflowHandle[Any, JobResult]:
        arguments = [agent_id, kind, is_job]
        return await client.start_workflow(
            AskCard.run, args=arguments, id=new_id(), task_queue=QUEUE
        )

    async with Worker(client, task_queue=QUEUE, workflows=[AskCard]):
        yield start


@pytest.fixture
def waiting(temporal_env: WorkflowEnvironment) -> Any:
    """Return what lets a workstation ask for its first job, and returns once Temporal is asked."""
    client = temporal_env.client

    async def start(workstation: Workstation) -> asyncio.Task[Any]:
        polling = asyncio.create_task(workstation.poll())
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=f"agent-{workstation.agent_id}"),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        await until(
            lambda: client.workflow_service.describe_task_queue(request),
            lambda queue: queue.pollers,
            what="a poll of the agent's queue",
        )
        return polling

    return start


async def test_a_job_is_handed_out_signed_and_its_result_goes_back(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id)

    handed = (await workstation.poll()).json()

    job = workstation.read(handed["job"])
    assert isinstance(job, InspectJob)
    assert job.card.code == "4711 apple"
    answer = await workstation.answer(handed["task"], DONE)
    assert answer.status_code == 200
    assert await handle.result() == DONE


async def test_jobs_are_signed_by_a_key_that_was_changed_while_the_door_is_open(
    settings, holder, enrol, ask, waiting
):
    """Every process sees the same file, so none hands out what an agent has ceased to believe."""
    workstation = await enrol(holder)
    polling = await waiting(workstation)
    change_job_key(settings)
    handle = await ask(workstation.agent_id)

    handed = (await polling).json()

    workstation.job_key = raw_hex(load_keys(settings).job_key)
    assert isinstance(workstation.read(handed["job"]), InspectJob)
    await workstation.answer(handed["task"], DONE)
    assert await handle.result() == DONE


async def test_a_waiting_agent_has_the_job_at_once(holder, enrol, ask, waiting):
    workstation = await enrol(holder)
    polling = await waiting(workstation)
    started = time.perf_counter()
    handle = await ask(workstation.agent_id)

    handed = (await polling).json()

    assert time.perf_counter() - started < NO_TIME_OUT
    await workstation.answer(handed["task"], DONE)
    assert await handle.result() == DONE


async def test_without_a_job_the_wait_ends_with_204(holder, enrol):
    workstation = await enrol(holder)

    answer = await workstation.poll(wait=2)

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_second_answer_is_told_that_it_is_over(holder, enrol, ask):
    workstation = await enrol(holder)
    await ask(workstation.agent_id)
    handed = (await workstation.poll()).json()
    await workstation.answer(handed["task"], DONE)

    again = await workstation.answer(handed["task"], DONE)

    assert again.status_code == 410
    assert (await workstation.heartbeat(handed["task"])).status_code == 410


async def test_a_dropped_connection_loses_no_job(holder, enrol, ask):
    workstation = await enrol(holder)
    for _ in range(5):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(workstation.poll(), 0.3)
        handle = await ask(workstation.agent_id)
        started = time.perf_counter()

        handed = (await workstation.poll()).json()

        assert time.perf_counter() - started < NO_TIME_OUT
        await workstation.answer(handed["task"], DONE)
        assert await handle.result() == DONE


async def test_a_job_that_arrives_while_nobody_listens_goes_to_the_next_poll(holder, enrol, ask):
    workstation = await enrol(holder)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(workstation.poll(), 0.3)
    handle = await ask(workstation.agent_id)
    await attempts(handle, 2)  # the orphaned poll took the job and gave it back
    started = time.perf_counter()

    handed = (await workstation.poll()).json()

    assert time.perf_counter() - started < NO_TIME_OUT
    await workstation.answer(handed["task"], DONE)
    assert await handle.result() == DONE


async def test_an_agent_that_asks_again_instead_of_answering_gets_the_same_job(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id)
    lost = (await workstation.poll()).json()

    again = (await workstation.poll()).json()

    assert workstation.read(again["job"]) == workstation.read(lost["job"])
    await workstation.answer(again["task"], DONE)
    assert await handle.result() == DONE
    assert (await workstation.poll(wait=2)).status_code == 204


async def test_a_job_that_ended_meanwhile_is_not_handed_out_again(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id)
    await workstation.poll()

    await handle.terminate()

    assert (await workstation.poll(wait=2)).status_code == 204


async def test_a_job_that_no_agent_knows_fails_at_once(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id, "format_card")

    assert (await workstation.poll(wait=2)).status_code == 204
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert "no agent carries out format_card jobs" in str(failure.value.cause.__cause__)


async def test_a_job_that_cannot_be_read_fails_at_once_and_the_next_is_handed_out(
    holder, enrol, ask
):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id, is_job=False)

    assert (await workstation.poll(wait=2)).status_code == 204
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert "no agent carries out inspect jobs like this" in str(failure.value.cause.__cause__)
    await ask(workstation.agent_id)
    assert (await workstation.poll()).status_code == 200


async def test_a_newer_poll_of_the_same_agent_ends_the_older_one(holder, enrol, ask, waiting):
    workstation = await enrol(holder)
    older = await waiting(workstation)
    newer = asyncio.create_task(workstation.poll())

    assert (await older).status_code == 204
    await ask(workstation.agent_id)
    assert (await newer).status_code == 200


async def test_an_agent_cannot_answer_with_anothers_task(holder, enrol, ask):
    mine, other = await enrol(holder), await enrol(holder)
    await ask(mine.agent_id)
    handed = (await mine.poll()).json()

    answer = await other.answer(handed["task"], DONE)

    assert answer.status_code == 403
    assert "not handed to this agent" in answer.json()["detail"]
    assert (await other.answer("1.forged", DONE)).status_code == 403
    assert (await mine.answer(handed["task"], DONE)).status_code == 200


async def test_a_heartbeat_hears_of_cancellation(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id)
    handed = (await workstation.poll()).json()
    assert (await workstation.heartbeat(handed["task"])).json() == {"cancelled": False}

    await handle.cancel()

    await until(
        lambda: workstation.heartbeat(handed["task"]),
        lambda answer: answer.json().get("cancelled"),
        what="the agent's hearing of the cancellation",
    )
    assert (await workstation.answer(handed["task"], DONE)).status_code == 200


async def test_a_revoked_agent_loses_its_long_poll(holder, enrol, waiting):
    workstation = await enrol(holder)
    polling = await waiting(workstation)
    started = time.perf_counter()

    await holder.post(f"/api/v1/agents/{workstation.agent_id}/revoke")

    answer = await polling
    assert answer.status_code == 403
    assert time.perf_counter() - started < NO_TIME_OUT
    assert (await workstation.poll()).status_code == 403


async def test_the_agent_of_a_disabled_person_loses_its_long_poll(holder, let_in, enrol, waiting):
    workstation, admin = await enrol(holder), await let_in("ada", Role.ADMIN)
    polling = await waiting(workstation)
    started = time.perf_counter()

    await disable(admin, holder)

    answer = await polling
    assert answer.json()["type"] == "urn:cardflow:problem:agent-person-disabled"
    assert time.perf_counter() - started < NO_TIME_OUT


async def test_a_waiting_agent_is_sent_elsewhere_when_the_process_ends(app, holder, enrol, waiting):
    workstation = await enrol(holder)
    polling = await waiting(workstation)

    app.state.cardflow.ending.set()
    try:
        async with asyncio.timeout(NO_TIME_OUT):
            answer = await polling
    finally:
        app.state.cardflow.ending.clear()  # it goes on, for other tests

    assert answer.status_code == 204


async def test_the_result_of_a_revoked_agent_is_refused(holder, enrol, ask):
    workstation = await enrol(holder)
    handle = await ask(workstation.agent_id)
    handed = (await workstation.poll()).json()
    await holder.post(f"/api/v1/agents/{workstation.agent_id}/revoke")

    answer = await workstation.answer(handed["task"], DONE)

    assert answer.status_code == 403
    await handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await handle.result()


@pytest.mark.parametrize(
    "message",
    [
        {"task": "x"},
        {"task": "x", "result": {"outcome": "splendid"}},
        {"task": "x", "result": {"outcome": "done", "pin": "1234"}},
        {"task": 1, "result": {"outcome": "done"}},
        [],
    ],
)
async def test_a_result_of_another_shape_is_refused_by_name(holder, enrol, message):
    workstation = await enrol(holder)

    answer = await workstation.send("POST", "/agent/v1/results", message)

    assert answer.status_code == 422


async def attempts(handle: WorkflowHandle[Any, Any], number: int) -> None:
    """Return when the workflow's activity waits for its n-th attempt."""

    async def reached() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return bool(pending) and pending[0].attempt >= number

    await until(reached, what="a job that was given back")
