"""Queries about second factors: what makes somebody's one-time codes, and the recovery codes."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db.tables import RecoveryCode, SecondFactor


async def find_factor(session: AsyncSession, person_id: str) -> SecondFactor | None:
    """Return a person's second factor, confirmed or not."""
    return await session.get(SecondFactor, person_id)


async def confirmed_factor(session: AsyncSession, person_id: str) -> SecondFactor | None:
    """Return the second factor that a person must show."""
    found = await find_factor(session, person_id)
    return found if found and found.confirmed_at else None


async def count_step(session: AsyncSession, person_id: str, step: int) -> bool:
    """Take the codes up to this step away for good; False when another request was first."""
    later = col(SecondFactor.person_id) == person_id, col(SecondFactor.last_step) < step
    done = await session.execute(update(SecondFactor).where(*later).values(last_step=step))
    return bool(done.rowcount)  # type: ignore[attr-defined]  # an UPDATE has one


async def use_recovery_code(
    session: AsyncSession, person_id: str, sha256: str, *, now: datetime
) -> bool:
    """Take a recovery code away for good; False when there is no such unused one."""
    unused = (
        col(RecoveryCode.person_id) == person_id,
        col(RecoveryCode.sha256) == sha256,
        col(RecoveryCode.used_at).is_(None),
    )
    done = await session.execute(update(RecoveryCode).where(*unused).values(used_at=now))
    return bool(done.rowcount)  # type: ignore[attr-defined]  # an UPDATE has one


async def recovery_codes_left(session: AsyncSession, person_id: str) -> int:
    """Return how many recovery codes a person can still use."""
    unused = col(RecoveryCode.person_id) == person_id, col(RecoveryCode.used_at).is_(None)
    query = select(func.count()).select_from(RecoveryCode).where(*unused)
    return int((await session.scalars(query)).one())


async def put_recovery_codes(session: AsyncSession, person_id: str, digests: Iterable[str]) -> None:
    """Leave these recovery codes, and no earlier ones."""
    await session.execute(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person_id))
    session.add_all(RecoveryCode(person_id=person_id, sha256=digest) for digest in digests)
    await session.flush()


async def remove_factor(session: AsyncSession, person_id: str) -> None:
    """Leave the person without a second factor."""
    await session.execute(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person_id))
    await session.execute(delete(SecondFactor).where(col(SecondFactor.person_id) == person_id))
