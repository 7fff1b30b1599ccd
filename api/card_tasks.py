"""Temporal's side of the agent door: the raw task-queue calls, for one agent's queue at a time."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
)
from temporalio.client import Client
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from cardflow.errors import Refused
from cardflow.failpoints import effect
from cardflow.jobs import JOB_TYPES, Job, JobKind, JobResult

RETRY_AFTER = timedelta(milliseconds=50)

log = logging.getLogger(__name__)


class TaskOver(Exception):
    """Temporal no longer waits for this answer: the job was retried elsewhere, or has ended."""


@dataclass(frozen=True)
class Task:
    """A job that Temporal handed out, and the token that its answer must bring."""

    kind: JobKind
    job: Job
    token: bytes = field(repr=False)
    workflow_id: str = ""


class CardTasks:
    """Polls, heartbeats and answers in the name of agents."""

    def __init__(self, client: Callable[[], Awaitable[Client]]) -> None:
        self._client = client

    async def poll(self, agent_id: str, seconds: float) -> Task | None:
        """Return the next task of the agent's queue, or None when ``seconds`` are over."""
        client = await self._client()
        request = PollActivityTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(
                name=f"agent-{agent_id}", kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
            ),
            identity=_identity(agent_id),
        )
        # Temporal itself answers an empty poll one second before its time is over.
        timeout = timedelta(seconds=seconds + 1)
        with effect("api.poll"):
            service = client.workflow_service
            response = await service.poll_activity_task_queue(request, timeout=timeout)
        return await self._read(client, agent_id, response) if response.task_token else None

    async def _read(
        self, client: Client, agent_id: str, response: PollActivityTaskQueueResponse
    ) -> Task | None:
        token = response.task_token
        try:
            kind = JobKind(response.activity_type.name)
            hints = [JOB_TYPES[kind]]
            workflow_id = response.workflow_execution.workflow_id
            converter = _converter(client, workflow_id)
            (job,) = await converter.decode(response.input.payloads, hints)
        except (ValueError, KeyError, TypeError, RuntimeError, Refused) as error:
            log.warning("a job for agent %s cannot be read: %s", agent_id, error)
            words = f"no agent carries out {response.activity_type.name} jobs like this one"
            await self._fail(agent_id, token, ApplicationError(words, non_retryable=True))
            return None
        return Task(kind, job, token, workflow_id)

    async def give_back(self, agent_id: str, token: bytes) -> None:
        """The task is free for the agent's next poll, here or at another process of ours."""
        error = ApplicationError(
            "the agent went away before it took the job",
            type="Unavailable",
            next_retry_delay=RETRY_AFTER,
        )
        await self._fail(agent_id, token, error)

    async def _fail(self, agent_id: str, token: bytes, error: ApplicationError) -> None:
        client = await self._client()
        failure = Failure()
        await client.data_converter.encode_failure(error, failure)
        request = RespondActivityTaskFailedRequest(
            task_token=token,
            namespace=client.namespace,
            identity=_identity(agent_id),
            failure=failure,
        )
        try:
            with effect("api.give_back"):
                await client.workflow_service.respond_activity_task_failed(request)
        except RPCError as gone:
            log.info("a job of agent %s was over already: %s", agent_id, gone.status.name)

    async def heartbeat(self, agent_id: str, token: bytes) -> bool:
        """Tell Temporal that the job goes on; True when it is to be called off."""
        client = await self._client()
        request = RecordActivityTaskHeartbeatRequest(
            task_token=token, namespace=client.namespace, identity=_identity(agent_id)
        )
        try:
            with effect("api.beat"):
                answer = await client.workflow_service.record_activity_task_heartbeat(request)
        except RPCError as error:
            raise _translated(error) from error
        return answer.cancel_requested

    async def complete(
        self, agent_id: str, token: bytes, result: JobResult, *, workflow_id: str
    ) -> None:
        """Hand the agent's answer to the workflow; TaskOver when nobody waits for it."""
        client = await self._client()
        payloads = await _converter(client, workflow_id).encode([result])
        request = RespondActivityTaskCompletedRequest(
            task_token=token,
            namespace=client.namespace,
            identity=_identity(agent_id),
            result=Payloads(payloads=payloads),
        )
        try:
            with effect("api.complete"):
                await client.workflow_service.respond_activity_task_completed(request)
        except RPCError as error:
            raise _translated(error) from error


def _converter(client: Client, workflow_id: str) -> DataConverter:
    context = WorkflowSerializationContext(client.namespace, workflow_id)
    return client.data_converter.with_context(context)


def _identity(agent_id: str) -> str:
    return f"agent:{agent_id}"


def _translated(error: RPCError) -> Exception:
    return TaskOver() if error.status is RPCStatusCode.NOT_FOUND else error
