"""Waiting for what others do by themselves, for as long as a machine under load may need."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

PATIENCE = 60  # seconds; a test that is about to fail can afford them

T = TypeVar("T")


async def _a_moment() -> None:
    await asyncio.sleep(0.02)


async def until(
    look: Callable[[], T | Awaitable[T]],
    reached: Callable[[T], object] = bool,
    *,
    what: str,
    pause: Callable[[], Awaitable[None]] = _a_moment,
    patience: float = PATIENCE,
) -> T:
    """Return the first look that ``reached`` is content with, or fail and tell the last one."""
    deadline = time.monotonic() + patience
    while True:
        seen = look()
        found: T = await seen if isawaitable(seen) else seen
        if reached(found):
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s; last seen: {found!r}")
        await pause()
