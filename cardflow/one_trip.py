"""SQLite connections that carry out a statement in one trip to their thread.

aiosqlite makes a trip for the cursor, for the statement, for its rows and for the cursor's end. The
two threads then wait for each other four times, and on a busy machine that is what a query costs.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite

LOT = 500  # rows that come along with the statement


class OneTripCursor:
    """What SQLAlchemy asks of a cursor; the first rows are there when ``execute`` returns."""

    arraysize = 1
    description: Any = None
    rowcount = -1
    lastrowid: int | None = None

    def __init__(self, connection: "OneTrip") -> None:
        self._connection = connection
        self._rows: deque[Any] = deque()
        self._open: sqlite3.Cursor | None = None  # while it has rows that have not come along

    async def __aenter__(self) -> "OneTripCursor":
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "OneTripCursor":
        """Carry the statement out and bring its first rows."""
        await self._connection.carry_out(self._run, statement, parameters)
        return self

    async def executemany(self, statement: str, many: Iterable[Any]) -> "OneTripCursor":
        """Carry the statement out for each set of parameters."""
        await self._connection.carry_out(self._run_many, statement, many)
        return self

    async def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        rest = await self._more(-1)
        rows = [*self._rows, *rest]
        self._rows.clear()
        return rows

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows, as many as there are or less."""
        wanted = size or self.arraysize
        if len(self._rows) < wanted:
            self._rows.extend(await self._more(max(wanted, LOT)))
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    async def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(iter(await self.fetchmany(1)), None)

    async def close(self) -> None:
        """Give the statement back; what came along stays."""
        if cursor := self._open:
            self._open = None
            await self._connection.carry_out(cursor.close)

    async def _more(self, number: int) -> list[Any]:
        if self._open is None:
            return []
        rows: list[Any] = await self._connection.carry_out(self._take, self._open, number)
        return rows

    # In the connection's thread

    def _run(self, statement: str, parameters: Sequence[Any]) -> None:
        cursor = self._connection.driver.cursor()
        try:
            cursor.execute(statement, parameters)
            self._rows = deque(self._take(cursor, LOT) if cursor.description else ())
            self._note(cursor)  # only now is it known how many rows INSERT … RETURNING made
        except BaseException:
            cursor.close()  # a traceback may live on, and with it the statement and its lock
            raise
        if not cursor.description:
            cursor.close()

    def _run_many(self, statement: str, many: Iterable[Any]) -> None:
        cursor = self._connection.driver.cursor()
        try:
            cursor.executemany(statement, many)
            self._note(cursor)
        finally:
            cursor.close()

    def _note(self, cursor: sqlite3.Cursor) -> None:
        self.description, self.rowcount = cursor.description, cursor.rowcount
        self.lastrowid = cursor.lastrowid

    def _take(self, cursor: sqlite3.Cursor, number: int) -> list[Any]:
        rows = cursor.fetchall() if number < 0 else cursor.fetchmany(number)
        if number < 0 or len(rows) < number:
            self._open = None
            cursor.close()
        else:
            self._open = cursor
        return rows


class OneTrip(aiosqlite.Connection):
    """A connection with such cursors."""

    @property
    def driver(self) -> sqlite3.Connection:
        """The connection itself; to be used in its thread."""
        return self._conn

    def cursor(self) -> Any:
        """Return a cursor; that alone is no trip."""
        return OneTripCursor(self)

    async def carry_out(self, work: Any, *arguments: Any) -> Any:
        """Return what the work gives in the connection's thread."""
        return await self._execute(work, *arguments)  # type: ignore[no-untyped-call]


def connect(database: str, **options: Any) -> OneTrip:
    """Return a connection that is still to be awaited; its thread holds up no process's end."""
    connection = OneTrip(lambda: sqlite3.connect(database, **options), LOT)
    connection._thread.daemon = True
    return connection
