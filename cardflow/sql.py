"""One way to reach SQLite and PostgreSQL: engine, transactions, the column type for instants."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import DateTime, Dialect, event, inspect, text
from sqlalchemy.dialects.postgresql import insert as insert_on_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_on_sqlite
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolIsFull
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.types import TypeDecorator

from cardflow import one_trip
from cardflow.errors import Unavailable

Sessions = async_sessionmaker[AsyncSession]
Row = TypeVar("Row")

BUSY_SECONDS: float = 30  # that SQLite waits for who is writing
CONNECT_SECONDS = 10  # that PostgreSQL may take to let us in
BEGIN = "sqlite_begin"
LOOKS = "looks_only"


class Instant(TypeDecorator[datetime]):
    """Stores aware instants as UTC and returns them aware, on SQLite too (which drops the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a naive datetime cannot be stored; give it a time zone"
            raise ValueError(msg)
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def create_engine(url: str, *, serves: bool = False) -> AsyncEngine:
    """Return an engine for an ``sqlite+aiosqlite`` or ``postgresql+psycopg`` URL.

    What ``serves`` others hangs up on a PostgreSQL that is silent; a command waits for its person.

    SQLite transactions begin IMMEDIATE: a deferred one that turns into a writer fails with
    'database is locked' under load instead of waiting. Errors never quote what was being stored.
    """
    if not url.startswith("sqlite"):
        return _on_postgresql(url, serves=serves)
    how = {"timeout": BUSY_SECONDS, "async_creator_fn": one_trip.connect}
    engine = create_async_engine(url, connect_args=how, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        busy = f"busy_timeout={round(BUSY_SECONDS * 1000)}"
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", busy):
            cursor.execute(f"PRAGMA {pragma}")  # allowed: composed-sql: three words of ours
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def _roll_back(connection: Any, _record: Any, _error: BaseException | None) -> None:
        """Give the lock back before the connection is closed, where a task was cancelled.

        SQLite keeps a closed connection, and its lock, until its last statement is gone: that is as
        long as anybody has the cancelled task or its traceback.
        """
        rolling = connection.driver_connection.rollback()
        with suppress(ValueError, StopIteration):  # it was closed already
            rolling.send(None)  # in the connection's queue now, ahead of what closes it
        rolling.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        mode = connection.get_execution_options().get(BEGIN, "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")  # allowed: composed-sql: a word of ours

    return engine


def _on_postgresql(url: str, *, serves: bool) -> AsyncEngine:
    how: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    if serves:
        from cardflow import hang_up  # loads the driver, which SQLite has no use for

        how["async_creator_fn"] = hang_up.connect
    engine = create_async_engine(url, connect_args=how, pool_pre_ping=True, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _in_utc(connection: Any, _record: Any) -> None:
        """Certificates without an end name the calendar's last second, which UTC alone can tell."""
        cursor = connection.cursor()
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.close()
        connection.commit()  # no failpoint: it is the connection's own zone

    return engine


def for_reading(engine: AsyncEngine) -> AsyncEngine:
    """Return the engine for transactions that only read: on SQLite they wait for no writer."""
    return engine.execution_options(**{BEGIN: "DEFERRED"})


def sessions_of(engine: AsyncEngine) -> Sessions:
    """Return what opens sessions; rows stay readable after their transaction."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def alone_with(session: AsyncSession, name: str) -> None:
    """Return when no other transaction is alone with this name; until ours ends, ours is.

    For what there is no row to lock of. On SQLite whoever may write is alone with everything.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Yield a session whose changes are committed together, or not at all."""
    with _told_as_unavailable():
        async with sessions() as session, session.begin():  # no failpoint: its callers have one
            yield session


async def first_kept(sessions: Sessions, row: Row) -> Row:
    """Return the row that stands under this one's key: an earlier one, or this, which is kept."""
    key = inspect(row).mapper.primary_key_from_instance(row)
    try:
        async with transaction(sessions) as session:  # no failpoint: the caller has one
            if earlier := await session.get(type(row), key):
                return earlier
            session.add(row)
    except IntegrityError:
        async with looking(sessions) as session:
            if earlier := await session.get(type(row), key):  # somebody else was faster
                return earlier
        raise
    return row


@asynccontextmanager
async def looking(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Yield a session for looking only, which ``let_go`` may be called with meanwhile."""
    with _told_as_unavailable():
        async with sessions() as session:
            session.info[LOOKS] = True
            yield session


async def let_go(session: AsyncSession) -> None:
    """Give the connection back before somebody else is waited for: others may need it.

    What was read stays readable; the next query takes a connection, and a transaction, anew. One
    that may have written is left alone: it is committed as a whole.
    """
    if session.info.get(LOOKS):
        await session.commit()  # no failpoint: nothing was written


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolIsFull) as error:
        # The driver's own words may quote a connection string.
        raise Unavailable("the database does not answer") from error


def insert_once(session: AsyncSession, table: Any) -> Any:
    """Return an INSERT into ``table`` that leaves alone what is there already."""
    return _insert_once(session.get_bind().dialect.name, table)


@cache
def _insert_once(dialect: str, table: Any) -> Any:
    insert = insert_on_sqlite if dialect == "sqlite" else insert_on_postgresql
    return insert(table).on_conflict_do_nothing()
