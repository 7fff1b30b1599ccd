"""Brings a database to the tables that this program needs, or says that it is not there yet."""

from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
LOCK = 4_711_002  # any number, as long as nobody else takes it


async def upgrade_database(engine: AsyncEngine) -> None:
    """Leave the database at the newest revision; processes that start together take turns."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    async with engine.begin() as connection:  # no failpoint: the next start goes on
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    from alembic import command  # loads slowly, and only who migrates needs it

    run(connection, command.upgrade, "head")


def run(connection: Connection, order: Any, *arguments: Any) -> None:
    """Carry out one of alembic's commands over the connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    order(config, *arguments)


@cache
def newest_revision() -> str:
    """Return the revision that this program needs: migrations are numbered in their order."""
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


async def database_objections(engine: AsyncEngine) -> list[str]:
    """Return why this program cannot work with the database as it is."""
    wanted, found = newest_revision(), await database_revision(engine)
    if found == wanted:
        return []
    return [f"the database is at revision {found or 'none'}, this program needs {wanted}"]


async def database_revision(engine: AsyncEngine) -> str:
    """Return the revision that the database is at; empty before the first."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) or ""


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return str(found) if found else None
