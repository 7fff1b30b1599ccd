"""Connections to PostgreSQL that end when the server says nothing for too long.

A line that swallows everything is told by nobody: whoever asked would wait for hours, and hold one
of the few connections that a process has.
"""

import asyncio
import os
import socket
from typing import Any

from psycopg import AsyncConnection

ANSWER_SECONDS: float = 60  # that the server may be silent after an order: none of ours takes that


class Impatient(AsyncConnection[Any]):
    """Hangs up when an order went unanswered for ``ANSWER_SECONDS``: psycopg.OperationalError."""

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
