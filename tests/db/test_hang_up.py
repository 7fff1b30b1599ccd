"""A PostgreSQL that says nothing: who asked is told so, and the next one is answered."""

import asyncio
import gc

import pytest
from sqlalchemy import text

from cardflow import hang_up, sql
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


async def test_nothing_is_left_of_a_connection_that_was_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sql, "CONNECT_SECONDS", 2)  # psycopg waits no shorter
    ended = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql+psycopg://nobody@127.0.0.1:{port}/nothing"
        engine = create_engine(url, serves=True)
        gc.disable()
        try:
            with pytest.raises(Unavailable, match="the database does not answer"):
                async with transaction(sessions_of(engine)) as session:
                    await session.execute(text("SELECT 1"))
            await asyncio.wait_for(ended.wait(), 5)
        finally:
            gc.enable()
        await engine.dispose()


async def test_a_command_waits_for_as_long_as_its_order_takes(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_up, "ANSWER_SECONDS", 0.3)
    engine = create_engine(postgresql)
    async with transaction(sessions_of(engine)) as session:
        answer = (await session.execute(text("SELECT 'late' FROM pg_sleep(0.7)"))).scalar_one()
    await engine.dispose()

    assert answer == "late"
