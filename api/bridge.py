"""Between Temporal's task queue ``agent-<id>`` and the agent's HTTPS long poll.

The agent never sees Temporal. While it waits, we poll its queue for it; a poll is never torn down,
because a task that Temporal has already handed to it would be lost until a time-out. A poll that
outlives its listener is taken over by the agent's next request, and a task that nobody comes for
goes back for another poll.
"""

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

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
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from cardflow.errors import Unavailable
from cardflow.jobs import JOB_TYPES, Job, JobKind, JobResult

GRACE = 0.5  # seconds; an agent whose connection broke is usually back sooner
RETRY_AFTER = timedelta(milliseconds=50)
SHORTEST_POLL = 1  # seconds; Temporal answers a poll one second before its time is over
CHECK_EVERY = 2  # seconds; an agent that was revoked elsewhere loses its poll within this time

_Listener = asyncio.Future[PollActivityTaskQueueResponse]
Revoked = Callable[[Collection[str]], Awaitable[set[str]]]

log = logging.getLogger(__name__)


class TaskOver(Exception):
    """Temporal no longer waits for this answer: the job was retried elsewhere, or has ended."""


class Dismissed(Exception):
    """The agent may not work any more."""


@dataclass(frozen=True)
class Task:
    """A job that Temporal handed out, and the token that its answer must bring."""

    kind: JobKind
    job: Job
    token: bytes = field(repr=False)


@dataclass
class _Line:
    """One agent's poll, and who listens to it now."""

    poll: "asyncio.Task[None]"
    listener: _Listener | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)


class Bridge:
    """One per process; any number of processes can serve the same agents."""

    def __init__(self, client: Callable[[], Awaitable[Client]], revoked: Revoked) -> None:
        self._client = client
        self._revoked = revoked
        self._lines: dict[str, _Line] = {}
        self._handed: dict[str, Task] = {}  # by agent, until it answers
        self._running: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop polling; Temporal gives what is lost by that to another poll after a time-out."""
        running = [*self._running, *([self._watch] if self._watch else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def next_task(
        self, agent_id: str, *, seconds: float, gone: "asyncio.Future[None]"
    ) -> Task | None:
        """Return the agent's next task, or None when ``seconds`` are over or the agent has gone.

        A newer call for the same agent ends an older one: the agent has reconnected.
        """
        if lost := await self._lost_on_the_way(agent_id):
            return lost
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not gone.done() and (left := until - loop.time()) > 0:
            listener = self._listen(agent_id, left)
            if listener is None:
                return None
            try:
                both: set[asyncio.Future[Any]] = {listener, gone}
                await asyncio.wait(both, timeout=left, return_when=FIRST_COMPLETED)
            except asyncio.CancelledError:
                self._abandon(agent_id, listener)
                raise
            response = self._heard(agent_id, listener)
            if response is None:
                return None
            if response.task_token:
                return await self._take(agent_id, response, gone)
        return None

    async def _lost_on_the_way(self, agent_id: str) -> Task | None:
        """An agent that asks while it owes an answer did not get its job, or has started anew."""
        task = self._handed.get(agent_id)
        if task is None:
            return None
        try:
            cancelled = await self.heartbeat(agent_id, task.token)
        except TaskOver:
            cancelled = True
        if cancelled:
            self._handed.pop(agent_id, None)
            return None
        task = self._handed[agent_id] = replace(task)  # it was come for
        return task

    def _listen(self, agent_id: str, left: float) -> _Listener | None:
        line = self._lines.get(agent_id)
        if line is None:
            if left < SHORTEST_POLL:
                return None
            line = self._lines[agent_id] = _Line(self._start(self._poll(agent_id, left + 1)))
        elif line.listener and not line.listener.done():
            line.listener.cancel()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_revocations())
        line.listener = asyncio.get_running_loop().create_future()
        line.came.set()
        return line.listener

    def _heard(self, agent_id: str, listener: _Listener) -> PollActivityTaskQueueResponse | None:
        line = self._lines.get(agent_id)
        if line is not None and line.listener is listener:
            line.listener = None
            line.came.clear()
        if not listener.done():
            listener.cancel()
        return None if listener.cancelled() else listener.result()

    def _abandon(self, agent_id: str, listener: _Listener) -> None:
        """The server stops: what the listener has just been given goes back."""
        response = self._heard(agent_id, listener)
        if response is not None and response.task_token:
            self._start(self.give_back(agent_id, response.task_token))

    async def _take(
        self, agent_id: str, response: PollActivityTaskQueueResponse, gone: "asyncio.Future[None]"
    ) -> Task | None:
        kind = JobKind(response.activity_type.name)
        client = await self._client()
        (job,) = await client.data_converter.decode(response.input.payloads, [JOB_TYPES[kind]])
        task = self._handed[agent_id] = Task(kind, job, response.task_token)
        if gone.done():
            self._start(self._give_back_later(agent_id, task))
            return None
        return task

    async def _give_back_later(self, agent_id: str, task: Task) -> None:
        await asyncio.sleep(GRACE)
        if self._handed.get(agent_id) is task:
            await self.give_back(agent_id, task.token)

    async def _poll(self, agent_id: str, seconds: float) -> None:
        try:
            outcome: PollActivityTaskQueueResponse | Exception = await self._ask(agent_id, seconds)
        except (RPCError, Unavailable) as error:
            outcome = error
        await self._wait_for_listener(self._lines[agent_id])
        listener = self._lines.pop(agent_id).listener
        if listener is None or listener.done():
            await self._nobody_listens(agent_id, outcome)
        elif isinstance(outcome, Exception):
            listener.set_exception(outcome)
        else:
            listener.set_result(outcome)

    async def _wait_for_listener(self, line: _Line) -> None:
        try:
            await asyncio.wait_for(line.came.wait(), GRACE)
        except TimeoutError:
            return

    async def _ask(self, agent_id: str, seconds: float) -> PollActivityTaskQueueResponse:
        client = await self._client()
        request = PollActivityTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(
                name=queue_of(agent_id), kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL
            ),
            identity=_identity(agent_id),
        )
        timeout = timedelta(seconds=seconds)
        return await client.workflow_service.poll_activity_task_queue(request, timeout=timeout)

    async def _nobody_listens(
        self, agent_id: str, outcome: PollActivityTaskQueueResponse | Exception
    ) -> None:
        if isinstance(outcome, Exception):
            log.info("a poll for agent %s ended: %s", agent_id, type(outcome).__name__)
        elif outcome.task_token:
            await self.give_back(agent_id, outcome.task_token)

    async def give_back(self, agent_id: str, token: bytes) -> None:
        """The task is free at once for the agent's next poll, anywhere."""
        self._handed.pop(agent_id, None)
        client = await self._client()
        failure = Failure()
        error = ApplicationError(
            "the agent went away before it took the job",
            type="Unavailable",
            next_retry_delay=RETRY_AFTER,
        )
        await client.data_converter.encode_failure(error, failure)
        request = RespondActivityTaskFailedRequest(
            task_token=token,
            namespace=client.namespace,
            identity=_identity(agent_id),
            failure=failure,
        )
        try:
            await client.workflow_service.respond_activity_task_failed(request)
        except RPCError as error:
            log.info("a job of agent %s was over already: %s", agent_id, error.status.name)

    # What the agent says about its job

    async def heartbeat(self, agent_id: str, token: bytes) -> bool:
        """Tell Temporal that the job goes on; True when it is to be called off."""
        client = await self._client()
        request = RecordActivityTaskHeartbeatRequest(
            task_token=token, namespace=client.namespace, identity=_identity(agent_id)
        )
        try:
            answer = await client.workflow_service.record_activity_task_heartbeat(request)
        except RPCError as error:
            raise _translated(error) from error
        return answer.cancel_requested

    async def complete(self, agent_id: str, token: bytes, result: JobResult) -> None:
        """Hand the agent's answer to the workflow; TaskOver when nobody waits for it."""
        if (task := self._handed.get(agent_id)) and task.token == token:
            del self._handed[agent_id]
        client = await self._client()
        payloads = await client.data_converter.encode([result])
        request = RespondActivityTaskCompletedRequest(
            task_token=token,
            namespace=client.namespace,
            identity=_identity(agent_id),
            result=Payloads(payloads=payloads),
        )
        try:
            await client.workflow_service.respond_activity_task_completed(request)
        except RPCError as error:
            raise _translated(error) from error

    # Revocation

    def dismiss(self, agent_id: str) -> None:
        """Whoever waits for this agent's work stops waiting with Dismissed."""
        line = self._lines.get(agent_id)
        if line and line.listener and not line.listener.done():
            line.listener.set_exception(Dismissed())

    async def _watch_revocations(self) -> None:
        while self._lines:
            await asyncio.sleep(CHECK_EVERY)
            try:
                for agent_id in await self._revoked(tuple(self._lines)):
                    self.dismiss(agent_id)
            except Unavailable:
                log.warning("who was revoked cannot be seen while the database is away")

    def _start(self, work: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def queue_of(agent_id: str) -> str:
    """Return the name of the agent's task queue."""
    return f"agent-{agent_id}"


def _identity(agent_id: str) -> str:
    return f"agent:{agent_id}"


def _translated(error: RPCError) -> Exception:
    if error.status is RPCStatusCode.NOT_FOUND:
        return TaskOver()
    return error
