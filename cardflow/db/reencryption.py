"""Which columns are sealed, under which keys, and moving them to the current one."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.tables import IdempotentAnswer, SecondFactor
from cardflow.key_ring import Ring
from cardflow.sealed import key_of, seal, unseal

AT_ONCE = 500
COLUMNS = {IdempotentAnswer: "body", SecondFactor: "secret"}

Row = IdempotentAnswer | SecondFactor


def bound_of(row: Row) -> bytes:
    """Return what a sealed value is bound to: in another place it cannot be read."""
    if isinstance(row, SecondFactor):
        return f"cardflow-second-factor-v1\n{row.person_id}".encode()
    return f"cardflow-answer-v1\n{row.person_id}\n{row.key}".encode()


async def keys_of_columns(session: AsyncSession) -> Counter[str]:
    """Return how many sealed values stand under each key."""
    return Counter([key_of(value.text) async for value in _sealed(session)])


async def reencrypt(session: AsyncSession, ring: Ring) -> int:
    """Return how many values were moved; afterwards all stand under the current key."""
    moved = 0
    async for value in _sealed(session):
        if key_of(value.text) != ring.current:
            bound = bound_of(value.row)
            setattr(value.row, value.column, seal(ring, unseal(ring, value.text, bound), bound))
            moved += 1
    return moved


@dataclass(frozen=True)
class _Value:
    row: Row
    column: str

    @property
    def text(self) -> str:
        return str(getattr(self.row, self.column))


async def _sealed(session: AsyncSession) -> AsyncIterator[_Value]:
    for table, column in COLUMNS.items():
        rows = await session.stream_scalars(select(table).execution_options(yield_per=AT_ONCE))
        async for row in rows:
            yield _Value(row, column)
