"""Which columns are sealed, under which keys, and moving them to the current one."""

from collections import Counter
from collections.abc import AsyncIterator

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cardflow.db.tables import IdempotentAnswer
from cardflow.key_ring import Ring
from cardflow.sealed import key_of, seal, unseal

AT_ONCE = 500


def bound_of(row: IdempotentAnswer) -> bytes:
    """Return what a kept answer is bound to: it cannot be shown to somebody else."""
    return f"cardflow-answer-v1\n{row.person_id}\n{row.key}".encode()


async def keys_of_columns(session: AsyncSession) -> Counter[str]:
    """Return how many sealed values stand under each key."""
    return Counter([key_of(row.body) async for row in _sealed(session)])


async def reencrypt(session: AsyncSession, ring: Ring) -> int:
    """Return how many values were moved; afterwards all stand under the current key."""
    moved = 0
    async for row in _sealed(session):
        if key_of(row.body) != ring.current:
            row.body = seal(ring, unseal(ring, row.body, bound_of(row)), bound_of(row))
            moved += 1
    return moved


async def _sealed(session: AsyncSession) -> AsyncIterator[IdempotentAnswer]:
    rows = await session.stream_scalars(
        select(IdempotentAnswer).execution_options(yield_per=AT_ONCE)
    )
    async for row in rows:
        yield row
