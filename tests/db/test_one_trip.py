"""A statement on SQLite is carried out in one trip, and is otherwise what it was."""

import asyncio
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from cardflow import one_trip
from cardflow.one_trip import LOT, OneTrip
from cardflow.sql import create_engine, sessions_of, transaction

pytestmark = pytest.mark.sqlite
ROWS = 3 * LOT + 7


@pytest.fixture
async def engine(tmp_path):
    made = create_engine(f"sqlite+aiosqlite:///{tmp_path}/trips.db")
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY, word TEXT UNIQUE)"))
        rows = [{"n": n, "word": f"w{n}"} for n in range(ROWS)]
        await connection.execute(text("INSERT INTO t VALUES (:n, :word)"), rows)
    yield made
    await made.dispose()


class Counting(OneTrip):
    """Counts its trips."""

    trips = 0

    async def carry_out(self, work, *arguments):
        self.trips += 1
        return await super().carry_out(work, *arguments)


async def test_a_statement_and_its_rows_cost_one_trip():
    connection = await Counting(lambda: sqlite3.connect(":memory:"), LOT)
    cursor = connection.cursor()

    await cursor.execute("SELECT ? UNION SELECT ?", (1, 2))
    assert await cursor.fetchall() == [(1,), (2,)]
    await cursor.close()

    assert connection.trips == 1
    await connection.close()


async def test_more_rows_than_come_along_are_all_there_and_in_order(engine):
    async with transaction(sessions_of(engine)) as session:
        found = (await session.scalars(text("SELECT n FROM t ORDER BY n"))).all()

    assert found == [*range(ROWS)]


async def test_a_stream_takes_its_rows_lot_by_lot(engine):
    async with transaction(sessions_of(engine)) as session:
        query = text("SELECT n FROM t ORDER BY n").execution_options(yield_per=100)
        found = [n async for n in await session.stream_scalars(query)]

    assert found == [*range(ROWS)]


async def test_a_stream_that_is_left_early_holds_nothing_back(engine):
    sessions = sessions_of(engine)
    async with transaction(sessions) as session:
        query = text("SELECT n FROM t ORDER BY n").execution_options(yield_per=10)
        stream = await session.stream_scalars(query)
        assert await anext(aiter(stream)) == 0
        await stream.close()

    async with transaction(sessions) as session:
        await session.execute(text("DELETE FROM t"))
        assert await session.scalar(text("SELECT count(*) FROM t")) == 0


async def test_a_statement_that_fails_gives_its_lock_back_while_its_error_lives_on(engine):
    sessions = sessions_of(engine)
    with pytest.raises(IntegrityError) as kept:
        async with transaction(sessions) as session:
            await session.execute(text("INSERT INTO t VALUES (:n, 'w0')"), {"n": ROWS})

    async with asyncio.timeout(5), transaction(sessions) as session:
        done = await session.execute(text("UPDATE t SET word = 'other' WHERE n = 0"))
        assert done.rowcount == 1
    assert kept.value


async def test_the_key_of_a_new_row_and_what_it_returns_are_known(engine):
    async with transaction(sessions_of(engine)) as session:
        made = await session.execute(text("INSERT INTO t (word) VALUES ('new') RETURNING n"))
        assert made.scalar_one() == ROWS
        many = await session.execute(text("UPDATE t SET word = NULL RETURNING n"))
        assert len(many.all()) == ROWS + 1


async def test_a_connection_that_was_closed_says_so(tmp_path):
    connection = await one_trip.connect(f"{tmp_path}/one.db")
    await connection.close()

    with pytest.raises(ValueError, match="closed"):
        await connection.cursor().execute("SELECT 1")
