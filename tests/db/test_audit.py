"""The audit chain: it cannot be changed through the database, and what is changed is found."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from cardflow.db import audit
from cardflow.db.tables import JournalAnswer, JournalEntry
from cardflow.sql import transaction

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def an_entry(n=0):
    return audit.Entry("signed_in", NOW, actor=f"person-{n}", facts={"n": n, "ä": ["ö"]})


async def written(sessions, count):
    async with transaction(sessions) as session:
        for n in range(count):
            await audit.append(session, an_entry(n))


async def verified(sessions):
    async with transaction(sessions) as session:
        return await audit.verify(session)


async def tampered(engine, *statements):
    """Change the trail as somebody could who owns the database: with the triggers off."""
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        else:
            await connection.execute(text("DROP TRIGGER audit_no_update"))
            await connection.execute(text("DROP TRIGGER audit_no_delete"))
        for statement in statements:
            await connection.execute(text(statement))


async def test_a_chain_that_nobody_touched_is_whole(sessions):
    await written(sessions, 5)

    assert await verified(sessions) == audit.Verification(True, 5)


async def test_an_empty_chain_is_whole(sessions):
    assert await verified(sessions) == audit.Verification(True, 0)


@pytest.mark.parametrize("table", ["audit", "journal", "journal_answers"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}"])
async def test_the_database_refuses_to_change_evidence(engine, sessions, table, change):
    await written(sessions, 1)
    async with transaction(sessions) as session:
        session.add(JournalEntry(action_id="a", update_id="u", token="t", recorded_at=NOW))
        session.add(JournalAnswer(action_id="a", accepted=True, answer="{}", recorded_at=NOW))
    column = {"audit": "kind = 'x'"}.get(table, "action_id = 'b'")

    with pytest.raises(DatabaseError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(change.format(table, column)))


@pytest.mark.parametrize(
    ("change", "broken_at", "reason"),
    [
        ("UPDATE audit SET text = replace(text, 'signed_in', 'x') WHERE number = 3", 3, "its text"),
        ("UPDATE audit SET kind = 'other' WHERE number = 2", 2, "a column beside its text"),
        ("UPDATE audit SET actor = 'eve' WHERE number = 5", 5, "a column beside its text"),
        ("UPDATE audit SET event = 9 WHERE number = 1", 1, "a column beside its text"),
        ("DELETE FROM audit WHERE number = 4", 4, "entry 4 is missing"),
        ("DELETE FROM audit WHERE number = 1", 1, "entry 1 is missing"),
        ("UPDATE audit SET previous = hash WHERE number = 2", 2, "does not follow"),
        ("UPDATE audit SET hash = previous WHERE number = 5", 5, "its text was changed"),
    ],
)
async def test_a_change_made_behind_our_back_is_found(engine, sessions, change, broken_at, reason):
    await written(sessions, 5)
    await tampered(engine, change)

    found = await verified(sessions)

    assert not found.ok
    assert found.broken_at == broken_at
    assert reason in found.reason


async def test_two_entries_cannot_change_places(engine, sessions):
    await written(sessions, 4)
    await tampered(
        engine,
        "UPDATE audit SET number = 99 WHERE number = 2",
        "UPDATE audit SET number = 2 WHERE number = 3",
        "UPDATE audit SET number = 3 WHERE number = 99",
    )

    assert (await verified(sessions)).broken_at == 2


async def test_a_chain_longer_than_a_page_is_read_to_its_end(engine, sessions, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 3)
    await written(sessions, 8)
    assert (await verified(sessions)).entries == 8

    await tampered(engine, "UPDATE audit SET text = '{}' WHERE number = 7")
    assert (await verified(sessions)).broken_at == 7


async def test_writers_at_the_same_time_make_one_chain(sessions):
    await asyncio.gather(*(written(sessions, 2) for _ in range(12)))

    assert await verified(sessions) == audit.Verification(True, 24)


async def test_what_is_rolled_back_leaves_no_gap(sessions):
    await written(sessions, 1)
    async with sessions() as session:
        await audit.append(session, an_entry())
        await session.rollback()
    await written(sessions, 1)

    assert await verified(sessions) == audit.Verification(True, 2)
