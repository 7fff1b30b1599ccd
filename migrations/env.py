"""Runs migrations over the connection it is given, or over the one that the settings name."""

import asyncio
from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from cardflow.ca import tables as ca_tables  # noqa: F401 its tables register themselves
from cardflow.db import tables  # noqa: F401 its tables register themselves
from cardflow.settings import load_settings
from cardflow.sql import Instant, create_engine


def render_item(kind: str, item: Any, _context: Any) -> str | bool:
    """Write plain SQLAlchemy types, so that an old migration needs none of today's code."""
    if kind == "type" and isinstance(item, Instant):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    return False


def compare_type(
    _context: Any, _inspected: Any, _column: Any, database_type: Any, model_type: Any
) -> bool | None:
    """SQLite keeps instants and JSON as text and says so; that is no difference."""
    if isinstance(model_type, Instant):
        return not isinstance(database_type, sa.DateTime)
    return None


def run(connection: Connection) -> None:
    """Run what the command asks for in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=render_item,
        compare_type=compare_type,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_by_settings() -> None:
    """Run over the database of this installation."""
    engine = create_engine(load_settings().database_url)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_by_settings())
