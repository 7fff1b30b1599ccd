"""Whom a process works for when it reaches a point; only the case that armed it may stop it there.

The product's failpoints do not say: several updates are under way in one process. Here a process of
the world's knows it from the request that it answers, the workflow whose activity it carries out,
or the card that it was given.
"""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from temporalio import activity

from cardflow import failpoints

_asked: ContextVar[str] = ContextVar("asked", default="")
TOLD_BY = (b"authorization", b"signature-input")  # of a person, of an agent


class Heard:
    """ASGI: remembers what is asked, and by whom, as long as the answer takes."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            who = [value.decode("latin-1") for name, value in scope["headers"] if name in TOLD_BY]
            _asked.set(" ".join([scope["path"], *who]))
        await self._app(scope, receive, send)


def about() -> str:
    """Return all that tells whom the process is at work for."""
    told = [_asked.get(), os.environ.get("SOFTHSM2_CONF", "")]  # noqa: TID251 (SoftHSM's own)
    if activity.in_activity():
        told.append(str(activity.info().workflow_id))
    return " ".join(told)


class Board(failpoints.Board):
    """The product's board, on which each armed point says whose it is: ``armed/name@number``.

    ``whose/name@number`` holds a list of names, one of which must be in what the process is at
    work for; an empty list means anybody.
    """

    def reach(self, name: str) -> None:
        """Note that the point was reached; stop if somebody waits for just that."""
        with self.trace.open("a") as file:
            file.write(f"{time.time():.6f} {os.getpid()} {name}\n")
        for armed in sorted(os.listdir(self.armed)):
            if armed.partition("@")[0] != name or not self._concerns(armed):
                continue
            with suppress(FileNotFoundError):
                (self.armed / armed).rename(self.fired / f"{armed}@{os.getpid()}")
                # This thread first: it must not go on while the others come to a halt.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
                return

    def _concerns(self, armed: str) -> bool:
        whose = json.loads((self.armed.parent / "whose" / armed).read_text())
        told = about()
        return not whose or any(one in told for one in whose)


def told_apart() -> None:
    """Have this process, and all that are forked from it, use this board."""
    if failpoints._board is not None:
        failpoints._board = Board(failpoints._board.trace.parent)
