"""Connections to PostgreSQL that end when the server says nothing for too long.

A line that swallows everything is told by nobody: whoever asked would wait for hours, and hold one
of the few connections that a process has.
"""

import asyncio
import os
import socket
from traceback import clear_frames
from typing import Any, Self

from psycopg import AsyncConnection, Error

ANSWER_SECONDS: float = 60  # that the server may be silent after an order: none of ours takes that


class Impatient(AsyncConnection[Any]):
    """Hangs up when an order went unanswered for ``ANSWER_SECONDS``: psycopg.OperationalError."""

    @classmethod
    async def connect(cls, *where: Any, **how: Any) -> Self:
        """Return a connection; nothing is left of one that could not be made in time."""
        try:
            return await super().connect(*where, **how)
        except Error as error:
            # Its frames hold the error, and it them: the half of a connection would be there until
            # the next collection of garbage, minutes later.
            clear_frames(error.__traceback__)
            raise

    async def wait(self, *order: Any, **how: Any) -> Any:
        """Return the answer to an order; everything that the driver waits for comes by here."""
        given_up = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._hang_up)
        try:
            return await super().wait(*order, **how)
        finally:
            given_up.cancel()

    def _hang_up(self) -> None:
        # The driver reads the end of the stream, and raises what it does for any lost connection.
        with socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


connect = Impatient.connect
