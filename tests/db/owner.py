"""What somebody could do to the evidence who owns the database."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Owner = AsyncConnection | AsyncSession

ON_SQLITE = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'"


async def unguard(owner: Owner, *tables: str) -> list[str]:
    """Let rows of the tables be changed and deleted; return the statements that end this."""
    connection = await owner.connection() if isinstance(owner, AsyncSession) else owner
    if connection.dialect.name == "postgresql":
        await _each(owner, (f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables))
        return [f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in tables]
    found = [row for row in (await owner.execute(text(ON_SQLITE))).all() if row[0] in tables]
    await _each(owner, (f"DROP TRIGGER {name}" for _, name, _ in found))
    return [made for _, _, made in found]


async def _each(owner: Owner, statements: Iterable[str]) -> None:
    for statement in statements:
        await owner.execute(text(statement))
