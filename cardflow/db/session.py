"""One transaction at a time, and one way to say that the database is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from cardflow.errors import Unavailable

Sessions = async_sessionmaker[AsyncSession]


def sessions_of(engine: AsyncEngine) -> Sessions:
    """Return what opens sessions; rows stay readable after their transaction."""
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Yield a session whose changes are committed together, or not at all."""
    try:
        async with sessions() as session, session.begin():
            yield session
    except (OperationalError, InterfaceError) as error:
        # The driver's own words may quote a connection string.
        raise Unavailable("the database does not answer") from error
