"""What a process does again and again goes on, whatever happened to one round of it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import TimeoutError as PoolIsFull
from sqlalchemy.ext.asyncio import create_async_engine

import worker
from api import checkpoints, housekeeping
from api.problems import problem_of
from cardflow.errors import Unavailable
from cardflow.sql import looking, sessions_of, transaction

FAILURES = [OSError("no room"), PoolIsFull("no connection"), RuntimeError("a bug")]


class Rounds:
    """Rounds of which the first ones fail."""

    def __init__(self) -> None:
        self.failures = iter(FAILURES)
        self.went_on = asyncio.Event()

    async def __call__(self, *_state: object) -> list[str]:
        for failure in self.failures:
            raise failure
        self.went_on.set()
        await asyncio.Event().wait()
        return []


@pytest.mark.parametrize(
    ("keep", "module", "pause", "does"),
    [
        (housekeeping.keep_house, housekeeping, "EVERY_SECONDS", "forget"),
        (checkpoints.keep_checkpoints, checkpoints, "LOOK_EVERY_SECONDS", "is_due"),
        (worker.maintain, worker, "MAINTAIN_EVERY_SECONDS", None),
    ],
)
async def test_a_round_that_fails_is_not_the_last_one(
    *, keep, module, pause, does, monkeypatch, caplog
):
    rounds = Rounds()
    monkeypatch.setattr(module, pause, 0)
    if does:
        monkeypatch.setattr(module, does, rounds)

    kept = asyncio.create_task(keep(SimpleNamespace(maintain=rounds)))
    went_on = asyncio.create_task(rounds.went_on.wait())
    await asyncio.wait({kept, went_on}, return_when=asyncio.FIRST_COMPLETED)

    assert rounds.went_on.is_set()
    kept.cancel()
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == FAILURES


@pytest.mark.sqlite
@pytest.mark.parametrize("opened", [transaction, looking])
async def test_a_database_that_has_no_connection_left_is_not_available(opened, tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path}/small.sqlite"
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    async with engine.connect():
        with pytest.raises(Unavailable):
            async with opened(sessions_of(engine)) as session:
                await session.connection()
    await engine.dispose()


def test_nor_is_it_a_failure_of_ours():
    assert problem_of(PoolIsFull()).status == 503
