"""Work that goes on after its request was answered, and ends with the process."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """The running pieces of work by name; the same name is never worked on twice at once."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Have the work done, unless work of this name is being done."""
        if name in self._running:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._running[name] = task
        task.add_done_callback(lambda _: self._running.pop(name, None))

    async def close(self) -> None:
        """Break off what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
