"""The yardstick of whole updates: a bare workflow that decides nothing."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

Moment = tuple[str, str]  # a workflow, and what it has come to


class Bell:
    """Rings, within this process, when a workflow has come to where somebody waits for it."""

    def __init__(self) -> None:
        self._reached: dict[Moment, asyncio.Future[Any]] = {}

    def ring(self, key: str, what: str, view: Any = None) -> None:
        """Whoever waits for this goes on, and who will wait for it does not."""
        if not (found := self._at(key, what)).done():
            found.set_result(view)

    async def until(self, key: str, what: str) -> Any:
        """Return the view with which it was reached."""
        view = await self._at(key, what)
        del self._reached[key, what]
        return view

    def _at(self, key: str, what: str) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        return self._reached.setdefault((key, what), loop.create_future())


BELL = Bell()


@dataclass(frozen=True)
class Shape:
    """How many activities and timers follow the start and each message, and a payload's size."""

    activities: list[int]
    timers: list[int]
    payload: int


@activity.defn
async def nothing(payload: str) -> str:
    """Return what came, which is what a real step's payload would weigh."""
    return payload


@activity.defn
async def told(payload: str, key: str, number: int) -> str:
    """Tell, as our publications do, that the next message may come."""
    BELL.ring(key, str(number))
    return payload


@workflow.defn
class Bare:
    """Messages; after each, activities one after the other, and timers."""

    def __init__(self) -> None:
        self._messages = 0

    @workflow.run
    async def run(self, key: str, shape: Shape) -> None:
        """Do the steps of each message."""
        payload = "x" * shape.payload
        for number, steps in enumerate(shape.activities):
            await workflow.wait_condition(lambda wanted=number: self._messages >= wanted)
            timers = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(shape.timers[number])]
            for left in range(steps, 0, -1):
                await self._step(payload, *([key, number] if left == 1 else []))
            for timer in timers:
                timer.cancel()
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _step(self, *said: str | int) -> None:
        await workflow.execute_activity(
            told if len(said) > 1 else nothing,
            args=said,
            start_to_close_timeout=timedelta(seconds=30),
        )

    @workflow.update
    def act(self, payload: str) -> str:
        """Take the message."""
        self._messages += 1
        return payload
