"""Between Temporal's task queue ``agent-<id>`` and the agent's HTTPS long poll.

The agent never sees Temporal. While it waits, we poll its queue for it. A poll is never torn down:
a task that Temporal has just handed to it would be lost until a time-out. A poll that outlives its
listener is taken over by the agent's next request; a task that nobody comes for is given back.
"""

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.service import RPCError

from api.card_tasks import CardTasks, Task, TaskOver
from cardflow.errors import Unavailable
from cardflow.jobs import JobResult

GRACE = 0.5  # seconds; an agent whose connection broke is usually back sooner
SHORTEST_POLL = 1  # seconds
CHECK_EVERY = 2  # seconds; an agent that was revoked elsewhere loses its poll within this time

_Listener = asyncio.Future[Task | None]
Revoked = Callable[[Collection[str]], Awaitable[set[str]]]

log = logging.getLogger(__name__)


class Dismissed(Exception):
    """The agent may not work any more."""


@dataclass
class _Line:
    """One agent's poll, and who listens to it now."""

    poll: "asyncio.Task[None]"
    listener: _Listener | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)


class Bridge:
    """One per process; any number of processes can serve the same agents."""

    def __init__(self, tasks: CardTasks, revoked: Revoked) -> None:
        self._tasks = tasks
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
        while not gone.done() and (left := until - loop.time()) > SHORTEST_POLL:
            listener = self._listen(agent_id, left)
            both: set[asyncio.Future[Any]] = {listener, gone}
            try:
                await asyncio.wait(both, timeout=left, return_when=FIRST_COMPLETED)
            finally:
                self._leave(agent_id, listener)
            if listener.cancelled():
                return None
            if task := listener.result():
                return self._hand(agent_id, task, gone)
        return None

    async def complete(
        self, agent_id: str, token: bytes, result: JobResult, *, workflow_id: str
    ) -> None:
        """Hand the agent's answer to the workflow; TaskOver when nobody waits for it."""
        if (task := self._handed.get(agent_id)) and task.token == token:
            del self._handed[agent_id]
        await self._tasks.complete(agent_id, token, result, workflow_id=workflow_id)

    async def heartbeat(self, agent_id: str, token: bytes) -> bool:
        """Tell Temporal that the job goes on; True when it is to be called off."""
        return await self._tasks.heartbeat(agent_id, token)

    async def give_back(self, agent_id: str, task: Task) -> None:
        """The task is free for the agent's next poll, anywhere."""
        if self._handed.get(agent_id) is task:
            del self._handed[agent_id]
        await self._tasks.give_back(agent_id, task.token)

    def dismiss(self, agent_id: str) -> None:
        """Whoever waits for this agent's work stops waiting with Dismissed."""
        line = self._lines.get(agent_id)
        if line and line.listener and not line.listener.done():
            line.listener.set_exception(Dismissed())

    # Handing out

    async def _lost_on_the_way(self, agent_id: str) -> Task | None:
        """An agent that asks while it owes an answer did not get its job, or has started anew."""
        task = self._handed.get(agent_id)
        if task is None:
            return None
        try:
            is_over = await self._tasks.heartbeat(agent_id, task.token)
        except TaskOver:
            is_over = True
        if is_over:
            self._handed.pop(agent_id, None)
            return None
        task = self._handed[agent_id] = replace(task)  # a new one: somebody came for it
        return task

    def _hand(self, agent_id: str, task: Task, gone: "asyncio.Future[None]") -> Task | None:
        self._handed[agent_id] = task
        if gone.done():
            self._start(self._give_back_later(agent_id, task))
            return None
        return task

    async def _give_back_later(self, agent_id: str, task: Task) -> None:
        await asyncio.sleep(GRACE)
        if self._handed.get(agent_id) is task:
            await self.give_back(agent_id, task)

    # Polling

    def _listen(self, agent_id: str, left: float) -> _Listener:
        line = self._lines.get(agent_id)
        if line is None:
            line = self._lines[agent_id] = _Line(self._start(self._poll(agent_id, left)))
        elif line.listener and not line.listener.done():
            line.listener.cancel()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_revocations())
        line.listener = asyncio.get_running_loop().create_future()
        line.came.set()
        return line.listener

    def _leave(self, agent_id: str, listener: _Listener) -> None:
        line = self._lines.get(agent_id)
        if line is not None and line.listener is listener:
            line.listener = None
            line.came.clear()
        if not listener.done():
            listener.cancel()

    async def _poll(self, agent_id: str, seconds: float) -> None:
        found: Task | Exception | None
        try:
            found = await self._tasks.poll(agent_id, seconds)
        except Exception as error:  # else the line would outlive its poll, and nobody be served
            found = error
        listener = await self._listener(self._lines[agent_id])
        del self._lines[agent_id]
        if isinstance(found, Exception):
            # What nobody foresaw is told with where it came from.
            origin = None if isinstance(found, RPCError | Unavailable) else found
            words = "a poll for agent %s ended: %s"
            log.warning(words, agent_id, type(found).__name__, exc_info=origin)
            if listener:
                listener.set_exception(found)
        elif listener:
            listener.set_result(found)
        elif found:
            await self.give_back(agent_id, found)

    async def _listener(self, line: _Line) -> _Listener | None:
        """Return who listens; somebody who has just gone gets a moment to come back."""
        try:
            await asyncio.wait_for(line.came.wait(), GRACE)
        except TimeoutError:
            return None
        return line.listener if line.listener and not line.listener.done() else None

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
