"""A PostgreSQL that says nothing: who asked is told so, and the next one is answered."""

import pytest
from sqlalchemy import text

from cardflow import hang_up
from cardflow.errors import Unavailable
from cardflow.sql import create_engine, sessions_of, transaction


async def test_an_order_without_an_answer_is_given_up_and_the_next_one_is_answered(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_up, "ANSWER_SECONDS", 0.3)
    engine = create_engine(postgresql, serves=True)
    sessions = sessions_of(engine)

    with pytest.raises(Unavailable, match="the database does not answer"):
        async with transaction(sessions) as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    async with transaction(sessions) as session:
        answer = (await session.execute(text("SELECT 'here'"))).scalar_one()
    await engine.dispose()

    assert answer == "here"


async def test_a_command_waits_for_as_long_as_its_order_takes(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_up, "ANSWER_SECONDS", 0.3)
    engine = create_engine(postgresql)
    async with transaction(sessions_of(engine)) as session:
        answer = (await session.execute(text("SELECT 'late' FROM pg_sleep(0.7)"))).scalar_one()
    await engine.dispose()

    assert answer == "late"
